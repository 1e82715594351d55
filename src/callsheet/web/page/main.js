// The page: what the address says, drawn as often as something changes, and no more often than can be read.

import { agentPanel } from "./agent_panel.js";
import { AgentsTable, nextSort } from "./agents_table.js";
import { bindControls } from "./controls.js";
import { h, listen, onAct, sync } from "./dom.js";
import { countText } from "./figures.js";
import { GraphView } from "./graph_view.js";
import { logView, moreLog, overview, problemsView, resultView } from "./overview.js";
import { addressOf, readRoute } from "./router.js";
import { questionsView, runHead, runStatus, tabs } from "./run_head.js";
import { runsView } from "./runs_view.js";
import { embedded, LiveSource, ReportSource } from "./source.js";
import { statusWord } from "./status.js";
import { bindTheme } from "./theme.js";
import { Timeline } from "./timeline.js";

const DRAW_MS = 200;
const CLOCK_MS = 1000;
const AGENT_MS = 1000;
const AGAIN_MS = 3000;

class Page {
  constructor() {
    const report = embedded();
    this.source = report ? new ReportSource(report) : new LiveSource();
    this.main = document.getElementById("main");
    this.live = document.getElementById("live");
    this.route = readRoute();
    this.run = null;
    this.told = {};
    this.drawn = 0;
    this.isDue = false;
  }

  begin() {
    if (this.source.isReport && !this.route.runId) location.replace(addressOf({ runId: this.source.report.board.run_id }));
    addEventListener("hashchange", () => this.go());
    setInterval(() => this.run && !this.run.board.said.is_over && !this.source.isReport && this.redraw(), CLOCK_MS);
    this.bind();
    if (!this.source.isReport) this.source.watchRuns(() => this.listed());
    this.go();
  }

  // --- where the reader is ---

  go() {
    const before = this.route;
    this.route = readRoute();
    if (this.source.isReport) this.route.runId = this.source.report.board.run_id;
    if (this.run?.id !== this.route.runId) this.openRun(this.route.runId);
    const isOther = before.agent !== this.route.agent;
    if (isOther) this.openAgent();
    this.draw();
    if (isOther && this.route.agent) document.getElementById("agent-title")?.focus();
    else if (isOther && before.agent) this.main.querySelector(`a[href*="agent=${CSS.escape(before.agent)}"]`)?.focus();
    else if (before.view !== this.route.view || before.runId !== this.route.runId) scrollTo({ top: 0 });
  }

  openRun(runId) {
    this.run?.close();
    this.run = null;
    this.told = {};
    this.ui = { opened: new Set() };
    if (!runId) return;
    const redraw = () => this.redraw();
    const own = { table: new AgentsTable(), graph: new GraphView(redraw), timeline: new Timeline(redraw) };
    const { board, close } = this.source.watchRun(runId, () => this.changed());
    this.run = { id: runId, board, close: typeof close === "function" ? close : () => {}, ...own };
    this.openAgent();
  }

  openAgent() {
    this.agent = { id: this.route.agent, page: null, fault: null, asked: 0, seen: "" };
    this.ui = { ...this.ui, opened: new Set() };
  }

  /** The list of runs is another: one that was over here may go on again. */
  listed() {
    const known = this.run && this.source.runs?.find((run) => run.run_id === this.run.id);
    if (known?.is_live && this.run.board.said.is_over) {
      this.run.aliveSince ??= performance.now(); // of one that has just ended the list says it a little later
      if (performance.now() - this.run.aliveSince > AGAIN_MS) this.openRun(this.run.id);
    }
    this.redraw();
  }

  changed() {
    if (this.run) {
      this.tell();
      this.redraw();
    }
  }

  /** Asks for what is new of the agent that is shown. */
  async readAgent() {
    const { agent, run } = this;
    const row = run.board.agents.get(agent.id);
    const seen = JSON.stringify([row?.state, row?.usage, row?.doing, row?.attempt, row?.messages.length]);
    if (!row || agent.isAsking || (agent.page && (agent.seen === seen || performance.now() - agent.asked < AGENT_MS))) return;
    agent.isAsking = true;
    agent.asked = performance.now();
    try {
      const page = await this.source.agent(run.id, agent.id);
      if (!page && this.source.isReport) throw new Error(`The report has no more of this agent. All of it: callsheet show ${run.id} ${agent.id} --full`);
      agent.page = page;
      agent.fault = null;
      agent.seen = seen;
    } catch (fault) {
      agent.fault = fault;
      agent.seen = seen;
      agent.page ??= {};
    } finally {
      agent.isAsking = false;
      this.redraw();
    }
  }

  // --- what is drawn ---

  redraw() {
    if (this.isDue) return;
    this.isDue = true;
    const wait = Math.max(0, DRAW_MS - (performance.now() - this.drawn));
    setTimeout(() => requestAnimationFrame(() => this.draw()), wait);
    if (document.hidden) setTimeout(() => this.isDue && this.draw(), 2000); // nothing is painted then, but the title is read
  }

  draw() {
    this.isDue = false;
    this.drawn = performance.now();
    const { route, run, source } = this;
    document.documentElement.classList.toggle("has-panel", Boolean(run && route.agent));
    if (!run) {
      document.title = "Runs · Callsheet";
      sync(this.main, h("div", { class: "runs-page", key: "runs" }, h("h1", { tabindex: "-1", id: "title" }, "Runs"), runsView(source, route.query)));
    } else this.drawRun({ board: run.board, route, source, now: source.now(), ui: this.ui });
    sync(document.getElementById("version"), source.version ? `Callsheet ${source.version}` : "");
    document.getElementById("home").hidden = source.isReport;
  }

  drawRun(context) {
    const { board } = context;
    if (!board.said.run_id) {
      sync(this.main, board.fault ? h("p", { class: "banner bad", role: "alert" }, board.fault.message) : h("p", { class: "empty" }, "Opening the run …"));
      return;
    }
    const mark = { running: "▶ ", completed: "✓ ", failed: "✕ ", degraded: "! " }[runStatus(board.said)] ?? "";
    document.title = `${mark}${board.said.workflow || board.runId} · Callsheet`;
    if (this.agent.id) this.readAgent();
    const page = this.agent.page?.agent_id ? this.agent.page : null;
    sync(this.main,
      h("div", { class: "run-page", key: `run-${board.runId}` },
        h("div", { class: "run-body", key: "body" }, runHead(context), questionsView(context), tabs(context), h("div", { class: "view", key: "view" }, this.view(context))),
        context.route.agent ? agentPanel(context, page, this.agent.fault) : null));
  }

  view(context) {
    const { run } = this;
    switch (context.route.view) {
      case "graph": return run.graph.view(context);
      case "timeline": return run.timeline.view(context);
      case "agents": return run.table.view(context);
      case "log": return logView(context);
      case "problems": return problemsView(context);
      case "result": return resultView(context);
      default: return overview(context);
    }
  }

  // --- what is said to those who do not see it: the run's own state and its questions, nothing of each agent ---

  tell() {
    const { said } = this.run.board;
    if (!said.run_id) return;
    const status = runStatus(said);
    const questions = (said.questions ?? []).map((asked) => asked.id);
    const fresh = questions.filter((id) => !this.told.questions?.includes(id));
    if (this.told.status && this.told.status !== status) this.say(`The run is ${statusWord(status)}.`);
    if (this.told.questions && fresh.length) this.say(`${countText(fresh.length, "new question")}.`);
    this.told = { status, questions };
  }

  say(words, isFault = false) {
    sync(this.live, h("p", { class: isFault ? "toast bad" : "toast", key: performance.now() }, words));
    clearTimeout(this.silence);
    this.silence = setTimeout(() => sync(this.live), 6000);
  }

  // --- what is pressed ---

  bind() {
    listen();
    bindTheme();
    bindControls(() => {
      const agent = this.run?.board.agents.get(this.route.agent);
      return { source: this.source, runId: this.run?.id, agentId: this.route.agent, label: agent?.label };
    }, (words, isFault) => this.say(words, isFault));
    onAct("skip-to-main", (_, event) => {
      event.preventDefault();
      this.main.focus();
    });
    onAct("dialog-close", () => document.getElementById("dialog").close());
    onAct("close-agent", () => this.closeAgent());
    onAct("copy", (element) => this.copy(element.dataset.text));
    onAct("copy-result", () => this.copy(document.getElementById("result-text").textContent));
    onAct("open-text", (element) => this.after(() => this.ui.opened.add(element.dataset.id)));
    onAct("log-more", () => this.after(() => moreLog(this.ui)));
    onAct("sort", (element) => this.query({ sort: nextSort(this.route, element.dataset.column) }));
    const steps = {
      "graph-in": (run) => run.graph.zoomBy(1), "graph-out": (run) => run.graph.zoomBy(-1), "graph-fit": (run) => run.graph.zoomBy(0), "graph-all": (run) => run.graph.toggleAll(),
      "time-in": (run) => run.timeline.zoomBy(0.5), "time-out": (run) => run.timeline.zoomBy(2), "time-all": (run) => run.timeline.showAll(),
      "time-left": (run) => run.timeline.moveBy(-0.5), "time-right": (run) => run.timeline.moveBy(0.5),
    };
    for (const [name, deed] of Object.entries(steps)) onAct(name, () => deed(this.run));
    onAct("graph-open", (element) => this.run.graph.toggle(element.dataset.group));
    document.addEventListener("input", (event) => {
      const { query } = event.target.dataset ?? {};
      if (query) this.query({ [query]: event.target.value });
    });
    document.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    const isTyping = event.target.closest?.("input, textarea, select, dialog");
    if (event.key === "Escape" && this.route.agent && !document.getElementById("dialog").open && !isTyping) this.closeAgent();
    if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const field = document.getElementById("find");
      if (field) {
        event.preventDefault();
        field.focus();
      }
    }
  }

  after(deed) {
    deed();
    this.draw();
  }

  closeAgent() {
    location.hash = addressOf({ ...this.route, agent: null });
  }

  /** Changes what is looked for; the place in the reader's history stays. */
  query(change) {
    const query = { ...this.route.query, ...change };
    if ("sort" in change || "q" in change || "status" in change || "phase" in change) {
      const address = this.route.runId ? addressOf({ ...this.route, query }) : `#/?${new URLSearchParams(query)}`;
      history.replaceState(null, "", address);
      this.route = { ...readRoute(), runId: this.route.runId };
      this.draw();
    }
  }

  async copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      this.say("Copied.");
    } catch {
      this.say("The browser does not let this page copy: select the text instead.", true);
    }
  }
}

new Page().begin();
