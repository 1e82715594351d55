// The graph of a run's calls: boxes that can be reached by keyboard, and the lines between them.

import { phaseName, standing, workedMs } from "./board.js";
import { button, h, sync } from "./dom.js";
import { countText, durationText, grouped, moneyText, tokensText } from "./figures.js";
import { figuresOf, layOut, NODE_H } from "./graph_layout.js";
import { addressOf } from "./router.js";
import { isBad, STATUS_ORDER, statusBar, statusSign, statusWord } from "./status.js";

const REFRESH_MS = 1500;
const ZOOMS = [0.25, 0.4, 0.55, 0.7, 0.85, 1, 1.25, 1.5];
const MARGIN = 24;

/** The tab of the graph. It keeps what is open, its zoom and its scroll position. */
export class GraphView {
  constructor(redraw) {
    this.redraw = redraw;
    this.graph = null;
    this.opened = new Set();
    this.zoom = 1;
    this.isFitted = true;
    this.asked = 0;
    this.known = -1;
    this.lines = h("svg", { class: "edges", "aria-hidden": "true", focusable: "false" });
    this.boxes = h("ul", { class: "boxes", "aria-label": "Calls" });
    this.plane = h("div", { class: "plane" }, this.lines, this.boxes);
    this.port = h("div", { class: "graph-port", tabindex: "-1" }, h("div", { class: "plane-size" }, this.plane));
    new ResizeObserver(() => this.isFitted && this.layout && this.scale()).observe(this.port);
    this.drag();
  }

  /** Brings it up to date, and gives it. */
  view(context) {
    this.context = context;
    this.refresh(context);
    if (this.graph) this.draw(context);
    const { graph } = this;
    const number = context.board.agents.size;
    return h("div", { key: "graph-tab", class: "page fill" },
      h("div", { class: "tools" },
        h("span", { class: "controls", role: "group", "aria-label": "Zoom" },
          button("−", "graph-out", { "aria-label": "Smaller" }), button("Fit", "graph-fit"), button("+", "graph-in", { "aria-label": "Larger" })),
        this.layout?.groups.some((group) => group.members.length > 1)
          ? button(this.opened.size ? "Close all groups" : "Open all groups", "graph-all", { class: "quiet" })
          : null,
        h("span", { class: "quiet" }, countText(number, "call"), " · a line leads from a result to the call that it led to"),
      ),
      graph && !graph.edges_known ? h("p", { class: "cut" }, "The record is older than the graph's lines: it does not say what each call had seen.") : null,
      graph?.edges_left_out ? h("p", { class: "cut" }, `${countText(graph.edges_left_out, "line")} to what had only been seen are left out.`) : null,
      this.fault ? h("p", { class: "banner wait" }, this.fault.message) : null,
      number || graph ? this.port : h("p", { class: "empty" }, "No agent has been called."));
  }

  /** Asks for the graph where there are calls that it does not have. */
  async refresh({ board, source }) {
    const isNew = board.agents.size !== this.known || (board.said.is_over && !this.isLast);
    if (!isNew || this.isAsking || performance.now() - this.asked < this.patience()) return;
    this.isAsking = true;
    this.known = board.agents.size;
    this.isLast = Boolean(board.said.is_over);
    try {
      this.graph = await source.graph(board.runId);
      this.fault = null;
      this.layout = null;
    } catch (fault) {
      this.fault = fault;
      this.known = -1;
    } finally {
      this.asked = performance.now();
      this.isAsking = false;
      this.redraw();
    }
  }

  /** How long the graph stands before it is asked for again: a large one costs more. */
  patience() {
    return this.graph ? Math.max(REFRESH_MS, this.graph.nodes.length * 5) : 0;
  }

  draw({ board, route, now }) {
    if (!this.layout) {
      this.layout = layOut(this.graph, this.opened);
      this.drawLines();
      this.scale();
    }
    sync(this.boxes, this.layout.groups.map((group) => this.box(group, board, route, now)));
  }

  drawLines() {
    const { lines, width, height } = this.layout;
    this.lines.setAttribute("viewBox", `0 0 ${width + 2 * MARGIN} ${height + 2 * MARGIN}`);
    this.lines.setAttribute("width", String(width + 2 * MARGIN));
    this.lines.setAttribute("height", String(height + 2 * MARGIN));
    this.plane.style.width = `${width + 2 * MARGIN}px`;
    this.plane.style.height = `${height + 2 * MARGIN}px`;
    const paths = lines.map((line) => {
      const x1 = MARGIN + line.from.x + line.from.w;
      const y1 = MARGIN + line.from.y + Math.min(line.from.h, NODE_H) / 2;
      const x2 = MARGIN + line.to.x;
      const y2 = MARGIN + line.to.y + Math.min(line.to.h, NODE_H) / 2;
      const bend = Math.max(24, (x2 - x1) / 2);
      return h("path", { key: line.key, class: `edge ${line.kind}${line.number > 1 ? " many" : ""}`, d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}` });
    });
    sync(this.lines, paths);

  }

  box(group, board, route, now) {
    const { counts, tokens, cost, worked } = figuresOf(group, board, now, workedMs);
    const style = { transform: `translate(${MARGIN + group.x}px, ${MARGIN + group.y}px)`, width: `${group.w}px`, height: `${group.h}px` };
    const meta = [tokens ? `${tokensText(tokens)} tok` : null, worked === null ? null : durationText(worked / 1000), cost ? moneyText(cost) : null].filter(Boolean).join(" · ");
    const [node] = group.members;
    if (group.members.length === 1) {
      const agent = board.agents.get(node.id);
      const status = agent ? standing(agent) : (node.status ?? "queued");
      return h("li", { key: group.id, class: "box", style },
        h("a", {
          class: `node ${isBad(status) ? "bad" : ""}${route.agent === node.id ? " chosen" : ""}`,
          href: addressOf({ ...route, runId: board.runId, agent: node.id }),
          "aria-label": `${node.label}, ${statusWord(status)}${meta ? `, ${meta}` : ""}`, title: node.label,
        },
        h("span", { class: "kicker clip" }, phaseName(node)),
        h("span", { class: "node-label" }, statusSign(status), h("span", { class: "clip" }, node.label)),
        h("span", { class: "meta" }, meta || statusWord(status))));
    }
    const isOpen = this.opened.has(group.id);
    const words = STATUS_ORDER.filter((status) => counts[status]).map((status) => `${counts[status]} ${statusWord(status)}`).join(", ");
    const how = group.isChain ? "one after the other" : "side by side";
    return h("li", { key: group.id, class: `box group${isOpen ? " open" : ""}`, style },
      h("button", {
        type: "button", class: "node", "aria-expanded": String(isOpen), data: { act: "graph-open", group: group.id },
        "aria-label": `${group.stem}, ${group.members.length} calls ${how}: ${words}. ${meta}`, title: `${words}`,
      },
      h("span", { class: "kicker clip" }, phaseName(node), group.isChain ? " · in a row" : null),
      h("span", { class: "node-label" }, h("span", { class: "clip" }, group.stem), h("b", { class: "times" }, `× ${grouped(group.members.length)}`)),
      statusBar(counts, { small: true }),
      h("span", { class: "meta" }, meta || words)),
      isOpen ? this.chips(group, board, route) : null);
  }

  chips(group, board, route) {
    return h("ul", { class: "chips", "aria-label": group.stem },
      group.chips.map(({ node, words, x, y, w, h: height }) => {
        const agent = board.agents.get(node.id);
        const status = agent ? standing(agent) : "queued";
        return h("li", { key: node.id, class: "chip-box", style: { transform: `translate(${x}px, ${y}px)`, width: `${w}px`, height: `${height}px` } },
          h("a", {
            class: `chip-link${route.agent === node.id ? " chosen" : ""}`, href: addressOf({ ...route, runId: board.runId, agent: node.id }),
            "aria-label": `${node.label}, ${statusWord(status)}`, title: node.label,
          }, statusSign(status), h("span", { class: "clip" }, words)));
      }),
      group.members.length > group.chips.length
        ? h("li", { key: "rest", class: "chip-rest" }, h("a", { href: addressOf({ runId: board.runId, view: "agents", query: { q: group.stem } }) }, `All ${grouped(group.members.length)} in the table`))
        : null);
  }

  /** Opens or closes a node of many. */
  toggle(id) {
    if (!this.opened.delete(id)) this.opened.add(id);
    this.isFitted = false; // what was pressed stays where it is
    this.layout = null;
    this.redraw();
  }

  toggleAll() {
    const groups = this.layout?.groups.filter((group) => group.members.length > 1) ?? [];
    this.opened = this.opened.size ? new Set() : new Set(groups.map((group) => group.id));
    this.layout = null;
    this.redraw();
  }

  /** One step larger or smaller; 0 as large as the window allows. */
  zoomBy(step) {
    this.isFitted = step === 0;
    if (step > 0) this.zoom = ZOOMS.find((zoom) => zoom > this.zoom + 0.01) ?? ZOOMS.at(-1);
    if (step < 0) this.zoom = [...ZOOMS].reverse().find((zoom) => zoom < this.zoom - 0.01) ?? ZOOMS[0];
    this.scale();
  }

  scale() {
    if (!this.layout) return;
    const width = this.layout.width + 2 * MARGIN;
    const height = this.layout.height + 2 * MARGIN;
    if (this.isFitted) {
      const fits = Math.min((this.port.clientWidth || 900) / width, 1); // down one scrolls anyway
      this.zoom = Math.max(fits, 0.6); // below it nothing can be read: the rest is scrolled to
    }
    this.plane.style.transform = `scale(${this.zoom})`;
    const box = this.plane.parentElement;
    box.style.width = `${width * this.zoom}px`;
    box.style.height = `${height * this.zoom}px`;
  }

  drag() {
    let from = null;
    this.port.addEventListener("pointerdown", (event) => {
      if (event.pointerType !== "mouse" || event.button !== 0 || event.target.closest("a, button")) return;
      from = { x: event.clientX + this.port.scrollLeft, y: event.clientY + this.port.scrollTop };
      this.port.setPointerCapture(event.pointerId);
    });
    this.port.addEventListener("pointermove", (event) => {
      if (!from) return;
      this.port.scrollLeft = from.x - event.clientX;
      this.port.scrollTop = from.y - event.clientY;
    });
    for (const name of ["pointerup", "pointercancel"]) this.port.addEventListener(name, () => (from = null));
  }
}
