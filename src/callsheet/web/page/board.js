// What is known of one run: the board as the host sends it, patched as it changes; and what the views ask of it.

import { timeOf } from "./figures.js";

/** How an agent stands: how it ended, or what it does. */
export function standing(agent) {
  return agent.status ?? agent.state;
}

/** Milliseconds that an agent has been at work; null before its start. */
export function workedMs(agent, now) {
  const start = timeOf(agent.started_at);
  return start === null ? null : Math.max(0, (timeOf(agent.ended_at) ?? now) - start);
}

/** A phase as people call it. */
export function phaseName(phase) {
  const title = phase.title ?? phase.phase ?? null;
  if (phase.workflow) return title ? `▸ ${phase.workflow} · ${title}` : `▸ ${phase.workflow}`;
  return title ?? "(no phase)";
}

/** What a label has in common with its siblings': `verify` of `verify:a.py:12`. */
export function labelStem(label) {
  const stem = label.split(/[:#([{/]/, 1)[0].replace(/[\s\d._-]+$/u, "");
  return stem.trim() || label.trim() || "agent";
}

/** One run. */
export class RunBoard {
  constructor() {
    this.said = {};
    this.agents = new Map();
    this.phases = new Map();
    this.log = [];
    this.version = 0;
    this.isHeard = true; // false while the host does not answer
  }

  /** Takes a board, or what changed in one. */
  take(said) {
    if (said.whole) {
      this.agents.clear();
      this.phases.clear();
      this.log = [];
    }
    const { agents = [], phases = [], log = [], ...rest } = said;
    Object.assign(this.said, rest);
    for (const agent of agents) this.agents.set(agent.agent_id, agent);
    for (const phase of phases) this.phases.set(phase.key, phase);
    const last = this.log.at(-1)?.seq ?? 0;
    this.log.push(...log.filter((line) => line.seq > last));
    this.version += 1;
  }

  get runId() {
    return this.said.run_id;
  }

  /** Its phases in their order. */
  phaseList() {
    return [...this.phases.values()].sort((one, other) => one.place - other.place);
  }

  /** How many agents stand how. */
  counts(agents = this.agents.values()) {
    const found = {};
    for (const agent of agents) {
      const status = standing(agent);
      found[status] = (found[status] ?? 0) + 1;
    }
    return found;
  }

  /** Counts by phase key. */
  countsByPhase() {
    const found = new Map();
    for (const agent of this.agents.values()) {
      const counts = found.get(agent.phase_key) ?? {};
      const status = standing(agent);
      counts[status] = (counts[status] ?? 0) + 1;
      found.set(agent.phase_key, counts);
    }
    return found;
  }

  /** Milliseconds from its start to its end, or to now. */
  elapsedMs(now) {
    if (this.said.result) return this.said.result.duration_ms;
    const start = timeOf(this.said.started_at);
    return start === null ? 0 : Math.max(0, (timeOf(this.said.ended_at) ?? now) - start);
  }

  /** What it cost so far; `isWhole` false while agents at work have a cost that is not known yet. */
  cost() {
    const result = this.said.result;
    if (result) return { usd: result.usage.cost_known ? result.usage.cost_usd : null, isWhole: true };
    return { usd: this.said.usage?.cost_usd ?? null, isWhole: !this.isAtWork() };
  }

  /** Whether any agent has begun and not ended. */
  isAtWork() {
    const states = this.said.states ?? {};
    return (states.running ?? 0) + (states.waiting ?? 0) > 0;
  }

  /** How many agents wait for what, the most first. */
  waits() {
    const found = new Map();
    for (const agent of this.agents.values()) {
      if (agent.state !== "waiting") continue;
      const what = agent.doing ?? "?";
      const entry = found.get(what) ?? { what, agents: 0, until: null, reason: null };
      entry.agents += 1;
      entry.reason ??= agent.reason;
      if (agent.until && (!entry.until || agent.until < entry.until)) entry.until = agent.until;
      found.set(what, entry);
    }
    return [...found.values()].sort((one, other) => other.agents - one.agents);
  }

  /** What went wrong: as the end of the run says it, before that the agents that did not end well. */
  problems() {
    if (this.said.result) return this.said.result.problems;
    return [...this.agents.values()]
      .filter((agent) => agent.status && agent.status !== "ok")
      .map((agent) => ({
        where: "agent",
        agent_id: agent.agent_id,
        label: agent.label,
        cause: agent.status,
        message: agent.error ?? agent.status,
        next: null,
        count: 1,
      }));
  }
}
