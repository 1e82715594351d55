// Deeds: asked for, where they destroy something confirmed, carried out, and said.

import { button, h, onAct, sync } from "./dom.js";

const DEEDS = {
  "run-stop": {
    path: "stop", title: "Stop the run?", verb: "Stop the run", danger: true,
    about: "Its agents are cancelled and its record is closed. callsheet resume goes on with it.", done: "The run was told to stop.",
  },
  "run-pause": { path: "pause", done: "No further agent starts for now." },
  "run-go-on": { path: "go_on", done: "Agents start again." },
  "agent-skip": {
    path: "skip", title: "Skip this agent?", verb: "Skip it", danger: true,
    about: "It ends as skipped, and its call gives null to the script. The run ends degraded.", done: "It was told to end as skipped.",
  },
  "agent-stop": {
    path: "stop", title: "Stop this agent?", verb: "Stop it", danger: true,
    about: "It ends as cancelled, and its call gives null to the script. The run ends degraded.", done: "It was told to end.",
  },
  "agent-restart": {
    path: "restart", title: "Start this agent over?", verb: "Start it over", danger: true,
    about: "Its work so far is cancelled and the same call starts anew. Files that it changed stay changed.", done: "It was told to start over.",
  },
  "agent-message": {
    path: "message", title: "Write to this agent", verb: "Send", words: "Message", needsWords: true,
    about: "It has your message with its next turn. It does not widen what it may do.", done: "The message was sent.",
  },
};

const ANSWERS = {
  once: { done: "Allowed once." },
  run: { done: "Allowed for this run." },
  project: {
    title: "Allow it for this project?", verb: "Allow it from now on",
    about: "The rule is kept in your own folder, and holds for later runs in this project too.", done: "Allowed for this project.",
  },
  deny: {
    title: "Deny it?", verb: "Deny", danger: true, words: "A word to the agent (may stay empty)",
    about: "The agent is told that this is not allowed, and goes on without it.", done: "Denied.",
  },
};
const OF_COST = {
  once: { done: "It may cost so much more." },
  amount: {
    title: "How much more may it cost?", verb: "Allow it", amount: "Dollars more", about: "The run goes on until it has cost so much more than by now, then it asks again.",
    done: "It may cost so much more.",
  },
  run: { done: "It goes on without a limit." },
  deny: {
    title: "End the run?", verb: "End the run", danger: true, about: "It ends where it is, and callsheet resume goes on with it.", done: "The run ends.",
  },
};
const OF_SCRIPT = {
  once: { done: "The script runs." },
  run: { done: "It runs, and all after it in this run." },
  deny: {
    title: "Decline this script?", verb: "Decline", danger: true, words: "A word to its author (may stay empty)",
    about: "It does not run. Who wrote it is told what you say here, and may write another.", done: "Declined.",
  },
};

/**
 * Has the buttons of runs, agents and questions do what they say.
 *
 * @param {function} where Gives `{source, runId, agentId, label}` as things stand.
 * @param {function} say Tells the reader, who may be listening to a screen reader.
 */
export function bindControls(where, say) {
  const press = (name, deed, pathOf, bodyOf) => {
    onAct(name, (element) => {
      const place = where();
      const chosen = deed ?? deedOfAnswer(element);
      const path = pathOf(place, chosen, element);
      const carryOut = (words) => place.source.act(place.runId, path, bodyOf(chosen, words, element));
      if (chosen.title) ask(chosen, place, carryOut, say, name.startsWith("agent-"));
      else atOnce(element, chosen, carryOut, say);
    });
  };
  for (const [name, deed] of Object.entries(DEEDS)) {
    const isAgent = name.startsWith("agent-");
    press(name, deed,
      ({ agentId }) => (isAgent ? `agents/${encodeURIComponent(agentId)}/${deed.path}` : deed.path),
      (_, words) => (deed.words ? { text: words } : {}));
  }
  press("answer", null,
    (_, __, element) => `questions/${encodeURIComponent(element.dataset.question)}/answer`,
    answerOf);
}

function deedOfAnswer({ dataset }) {
  return ({ script: OF_SCRIPT, cost: OF_COST }[dataset.kind] ?? ANSWERS)[dataset.verdict];
}

function answerOf(deed, said, { dataset }) {
  if (deed.amount) return { verdict: "once", more_usd: Number(said) };
  return said ? { verdict: dataset.verdict, words: said } : { verdict: dataset.verdict };
}

function fieldOf(deed) {
  if (deed.amount) return h("input", { id: "dialog-words", type: "number", min: "0.01", max: "1000000", step: "0.01", inputmode: "decimal", required: true });
  return deed.words ? h("textarea", { id: "dialog-words", rows: "4", maxlength: "16000" }) : null;
}

async function atOnce(element, deed, carryOut, say) {
  element.disabled = true;
  try {
    await carryOut("");
    say(deed.done);
  } catch (fault) {
    say(fault.message, true);
  } finally {
    element.disabled = false;
  }
}

function ask(deed, place, carryOut, say, isAgent) {
  const dialog = document.getElementById("dialog");
  const words = fieldOf(deed);
  const fault = h("p", { class: "bad", role: "alert" });
  const deedButton = h("button", { type: "submit", class: deed.danger ? "danger main" : "main" }, deed.verb);
  const form = h("form", { method: "dialog", "aria-labelledby": "dialog-title" },
    h("h2", { id: "dialog-title" }, deed.title),
    isAgent ? h("p", { class: "mono" }, place.label ?? place.agentId) : null,
    h("p", null, deed.about),
    words ? h("label", { for: "dialog-words" }, deed.amount ?? deed.words) : null,
    words,
    fault,
    h("p", { class: "controls end" }, button("Not now", "dialog-close", { class: "quiet" }), deedButton));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (deed.needsWords && !words.value.trim()) {
      sync(fault, "Write something first.");
      words.focus();
      return;
    }
    deedButton.disabled = true;
    try {
      await carryOut(words?.value.trim() ?? "");
      dialog.close();
      say(deed.done);
    } catch (error) {
      sync(fault, error.message);
      deedButton.disabled = false;
    }
  });
  dialog.replaceChildren(form);
  dialog.setAttribute("aria-labelledby", "dialog-title");
  dialog.showModal();
  if (words) words.focus();
}
