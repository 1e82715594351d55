// Where the page has its data from: the server that it came from, or the report that it stands in.

import { RunBoard } from "./board.js";

const AGAIN_MS = [500, 1000, 2000, 5000];
const HIDDEN_MS = 10_000;

/** The data of a report, which stands in the page; null on a page that a server sends. */
export function embedded() {
  const element = document.getElementById("report-data");
  return element ? JSON.parse(element.textContent) : null;
}

const ROW = {
  status: null, reused: false, model: null, backend: null, doing: null, until: null, reason: null, queued_at: null, started_at: null, ended_at: null,
  error: null, preview: null, tools_called: [], files_read: 0, files_changed: [], branch: null, messages: [], asked_to: null, attempt: 1,
};
const USAGE = { input_tokens: 0, output_tokens: 0, cache_read_tokens: 0, cache_write_tokens: 0 };

/** An agent's line of a report with all that was left out of it, since it is so with most. */
function wholeRow({ phase_place: place, usage, ...agent }, phases) {
  const { key, title, workflow } = phases[place];
  return { ...ROW, ...agent, phase: title, workflow, phase_key: key, usage: { ...USAGE, ...usage } };
}

/** A report: nothing in it changes, and nothing can be done in it. */
export class ReportSource {
  constructor(report) {
    this.report = report;
    this.isReport = true;
    this.hasControl = false;
    this.version = report.version;
    this.writtenAt = Date.parse(report.written_at);
    this.board = new RunBoard();
    this.board.take({ ...report.board, agents: report.board.agents.map((agent) => wholeRow(agent, report.board.phases)) });
  }

  now() {
    return this.writtenAt;
  }

  watchRun(runId, changed) {
    changed();
    return { board: this.board, close() {} };
  }

  async graph() {
    const { edges, ...rest } = this.report.graph;
    const nodes = this.report.graph.nodes.map(([id, script]) => {
      const { label = id, phase = null, workflow = null } = this.board.agents.get(id) ?? {};
      return { id, script, label, phase, workflow };
    });
    return { ...rest, nodes, edges: edges.map(([from, to, led]) => ({ from: nodes[from].id, to: nodes[to].id, kind: led ? "led_to" : "seen" })) };
  }

  async agent(runId, agentId) {
    return this.report.agents[agentId] ?? null;
  }
}

/** The server of `callsheet serve`. */
export class LiveSource {
  constructor() {
    this.isReport = false;
    this.hasControl = false;
    this.version = "";
    this.runs = null;
    this.fault = null;
  }

  now() {
    return Date.now();
  }

  /** Keeps `runs` true while the page stands. Gives what ends it. */
  watchRuns(changed) {
    const take = (said) => {
      this.runs = said.runs;
      this.version = said.version ?? this.version;
      this.hasControl = said.control ?? this.hasControl;
      this.fault = null;
      changed();
    };
    return watched("/api/runs", "/api/runs/stream", ["runs", "message"], take, (fault) => {
      this.fault = fault;
      changed();
    });
  }

  /** The board of a run, kept true until `close`. */
  watchRun(runId, changed) {
    const board = new RunBoard();
    const path = `/api/runs/${encodeURIComponent(runId)}`;
    const take = (said) => {
      board.take(said);
      board.isHeard = true;
      board.fault = null;
      changed();
    };
    const lost = (fault) => {
      board.isHeard = false;
      board.fault = fault;
      changed();
    };
    const close = watched(path, () => `${path}/stream?after=${board.said.seq ?? 0}`, ["board"], take, lost);
    return { board, close };
  }

  graph(runId) {
    return asked(`/api/runs/${encodeURIComponent(runId)}/graph`);
  }

  agent(runId, agentId, after = 0) {
    return asked(`/api/runs/${encodeURIComponent(runId)}/agents/${encodeURIComponent(agentId)}${after ? `?after=${after}` : ""}`);
  }

  /** Does something in a run. Gives nothing, or throws what to tell the reader. */
  async act(runId, path, body = {}) {
    const answer = await fetch(`/api/runs/${encodeURIComponent(runId)}/${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Callsheet": "1" },
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(await faultOf(answer));
    return answer.json().catch(() => null);
  }
}

/**
 * Asks once, then listens; begins again where the line breaks. A tab that nobody sees asks now and then instead: all tabs of
 * a browser together have six connections to a server, and those that listen would leave none to the others.
 */
function watched(path, streamPath, names, take, lost) {
  let stream = null;
  let timer = 0;
  let tries = 0;
  let begun = 0;
  let isClosed = false;
  const again = (fault) => {
    stream?.close();
    if (isClosed) return;
    lost(fault);
    if (fault.isFinal) return;
    timer = setTimeout(begin, AGAIN_MS[Math.min(tries, AGAIN_MS.length - 1)]);
    tries += 1;
  };
  const end = () => {
    isClosed = true;
    clearTimeout(timer);
    stream?.close();
    document.removeEventListener("visibilitychange", seen);
  };
  const seen = () => {
    begun += 1; // what is being asked for is asked for again
    clearTimeout(timer);
    stream?.close();
    if (document.hidden) timer = setTimeout(begin, HIDDEN_MS);
    else begin();
  };
  const begin = async () => {
    begun += 1;
    const mine = begun;
    try {
      const said = await asked(path);
      if (isClosed || mine !== begun) return;
      take(said);
      tries = 0;
      if (said.is_over) {
        end();
        return;
      }
    } catch (fault) {
      if (mine === begun) again(fault);
      return;
    }
    if (document.hidden) {
      timer = setTimeout(begin, HIDDEN_MS);
      return;
    }
    stream = new EventSource(typeof streamPath === "function" ? streamPath() : streamPath);
    for (const name of names) stream.addEventListener(name, (event) => take(JSON.parse(event.data)));
    stream.addEventListener("end", end);
    stream.addEventListener("lost", (event) => {
      end();
      if (event.data) takeLost(event.data, take);
    });
    stream.onerror = () => again(new Error("The server does not answer. Trying again …"));
  };
  document.addEventListener("visibilitychange", seen);
  begin();
  return end;
}

function takeLost(text, take) {
  let why = text;
  try {
    const said = JSON.parse(text);
    why = typeof said === "string" ? said : (said.lost ?? said.message ?? said.why ?? "");
  } catch {
    // it is the text
  }
  take({ lost: why || "Nothing more is heard of it: its process is gone.", is_over: true });
}

async function asked(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" } });
  if (!answer.ok) {
    const fault = new Error(await faultOf(answer));
    fault.isFinal = [401, 403, 404].includes(answer.status);
    throw fault;
  }
  return answer.json();
}

async function faultOf(answer) {
  const text = await answer.text().catch(() => "");
  try {
    const said = JSON.parse(text);
    const fault = said.error ?? said.message ?? said.detail;
    return (typeof fault === "string" ? fault : fault?.message) || `${answer.status} ${answer.statusText}`;
  } catch {
    return text.slice(0, 300) || `${answer.status} ${answer.statusText}`;
  }
}
