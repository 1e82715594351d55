// Checks that tests make in the page itself: see page_checks.py.
({
lacks: () => {
  const faults = [];
  const shown = (element) => {
    const style = getComputedStyle(element);
    const box = element.getBoundingClientRect();
    return style.visibility !== "hidden" && style.display !== "none" && box.width > 0 && box.height > 0;
  };
  const nameOf = (element) => {
    const by = (element.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join(" ");
    const label = element.labels?.length ? [...element.labels].map((each) => each.textContent).join(" ") : "";
    return (by || element.getAttribute("aria-label") || label || element.textContent || element.getAttribute("title") || "").trim();
  };
  for (const element of document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex], [role=img], [role=grid], nav, aside, section, dialog[open]")) {
    if (!shown(element) || element.matches("main, h1, h2, .graph-port, [role=row], [role=listitem]")) continue;
    if (!nameOf(element)) faults.push(`no name: ${element.outerHTML.slice(0, 120)}`);
  }
  for (const landmark of ["main", "header", "nav"]) if (!document.querySelector(landmark)) faults.push(`no ${landmark}`);
  if (document.querySelectorAll("main").length !== 1) faults.push("more than one main");
  if (document.querySelectorAll("h1").length !== 1) faults.push("not one h1");
  if (!document.documentElement.lang) faults.push("no language");
  if (!document.title) faults.push("no title");
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of new Set(ids)) if (ids.filter((each) => each === id).length > 1) faults.push(`id twice: ${id}`);
  for (const element of document.querySelectorAll("[aria-labelledby]")) {
    if (!document.getElementById(element.getAttribute("aria-labelledby"))) faults.push(`labelled by nothing: ${element.outerHTML.slice(0, 90)}`);
  }
  for (const element of document.querySelectorAll("[tabindex]")) if (Number(element.getAttribute("tabindex")) > 0) faults.push("an order of Tab of its own");
  for (const element of document.querySelectorAll("svg:not([aria-hidden]):not([role])")) faults.push(`a picture without words: ${element.outerHTML.slice(0, 90)}`);
  let level = 0;
  for (const heading of document.querySelectorAll("h1, h2, h3")) {
    const own = Number(heading.tagName[1]);
    if (own > level + 1) faults.push(`heading ${own} after ${level}: ${heading.textContent}`);
    level = own;
  }
  return faults;
},

contrast: () => {
  const colour = (text) => {
    const found = text.match(/[\d.]+/g).map(Number);
    return { r: found[0], g: found[1], b: found[2], a: found[3] ?? 1 };
  };
  const light = ({ r, g, b }) => {
    const [red, green, blue] = [r, g, b].map((each) => each / 255).map((each) => (each <= 0.03928 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const found = colour(getComputedStyle(at).backgroundColor);
      if (found.a === 1) return found;
    }
    return { r: 255, g: 255, b: 255, a: 1 };
  };
  const faults = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest("script, style, noscript, .away, [disabled], [hidden]")) continue;
    const box = element.getBoundingClientRect();
    if (!box.width || getComputedStyle(element).visibility === "hidden") continue;
    const [one, other] = [light(colour(getComputedStyle(element).color)), light(ground(element))].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < 4.5) faults.add(`${ratio.toFixed(2)} ${element.className} ${element.localName}: ${walker.currentNode.data.trim().slice(0, 30)}`);
  }
  return [...faults];
},

cutOff: () => {
  const faults = [];
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) faults.push(`the page is ${root.scrollWidth} wide`);
  for (const element of document.querySelectorAll("main *, header *")) {
    const box = element.getBoundingClientRect();
    if (!box.width || box.right <= root.clientWidth + 1 || element.closest(".graph-port, .away, .clip, summary")) continue;
    faults.push(`cut off: ${element.localName}.${element.className} to ${Math.round(box.right)}: ${element.textContent.trim().slice(0, 40)}`);
  }
  for (const element of document.querySelectorAll("main, main *")) {
    const isScrolled = ["auto", "scroll"].includes(getComputedStyle(element).overflowX) && element.scrollWidth > element.clientWidth + 1;
    if (isScrolled && !element.matches(".graph-port")) faults.push(`goes on to the right: ${element.localName}.${element.className}`);
  }
  return faults;
},

focused: () => {
  const element = document.activeElement;
  if (!element || element === document.body) return ["", "none"];
  const style = getComputedStyle(element);
  return [element.getAttribute("aria-label") || element.textContent.trim() || element.placeholder || element.localName, style.outlineStyle];
},
})
