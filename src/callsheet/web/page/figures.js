// Figures as people read them: the same as `callsheet.views.figures`.

/** `950`, `1.2k`, `34k`, `2.1M`. */
export function tokensText(count) {
  if (count < 1000) return String(count ?? 0);
  for (const [unit, size] of [["k", 1e3], ["M", 1e6]]) {
    const amount = count / size;
    if (amount < 9.95) return `${amount.toFixed(1)}${unit}`;
    if (amount < 999.5) return `${amount.toFixed(0)}${unit}`;
  }
  return `${grouped(Math.round(count / 1e6))}M`;
}

/** `$0`, `$0.0123`, `$12.34`; a cost that is not known says so. */
export function moneyText(usd) {
  if (usd === null || usd === undefined) return "cost unknown";
  if (usd === 0) return "$0";
  if (usd < 0.1) return `$${usd.toFixed(4)}`;
  const [whole, cents] = usd.toFixed(2).split(".");
  return `$${grouped(Number(whole))}.${cents}`;
}

/** `0.4 s`, `12.3 s`, `2 m 05 s`, `1 h 02 m`. */
export function durationText(seconds) {
  if (seconds < 59.95) return `${Math.max(0, seconds).toFixed(1)} s`;
  const rounded = Math.round(seconds);
  const minutes = Math.floor(rounded / 60);
  if (minutes < 60) return `${minutes} m ${String(rounded % 60).padStart(2, "0")} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} m`;
}

/** `1,234`. */
export function grouped(number) {
  return String(number).replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

/** `1 agent`, `3 agents`, `1,000 agents`. */
export function countText(number, noun) {
  return number === 1 ? `1 ${noun}` : `${grouped(number)} ${noun}s`;
}

/** A recorded time in milliseconds since the epoch; null where there is none. */
export function timeOf(at) {
  const found = at ? Date.parse(at) : NaN;
  return Number.isNaN(found) ? null : found;
}

/** `14:03:22` in the reader's own time zone. */
export function clockText(at) {
  const time = timeOf(at);
  if (time === null) return "";
  const date = new Date(time);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":");
}

/** `21 Nov 2026, 14:03:22` in the reader's own time zone. */
export function dateText(at) {
  const time = timeOf(at);
  if (time === null) return "";
  const date = new Date(time);
  const month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][date.getMonth()];
  return `${date.getDate()} ${month} ${date.getFullYear()}, ${clockText(at)}`;
}

/** `12 s ago`, `5 min ago`, `3 h ago`, `9 d ago`. */
export function ageText(at, now) {
  const time = timeOf(at);
  if (time === null) return "";
  const seconds = Math.max(0, (now - time) / 1000);
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
  }
  return `${Math.floor(seconds)} s ago`;
}

/** How long until a time: `in 12 s`; nothing where it is past or unknown. */
export function untilText(until, now) {
  const time = timeOf(until);
  if (time === null || time <= now) return "";
  const seconds = Math.ceil((time - now) / 1000);
  return seconds < 60 ? `in ${seconds} s` : `in ${durationText(seconds)}`;
}

/** `950 B`, `12 KB`, `3.4 MB`. */
export function sizeText(bytes) {
  let amount = bytes;
  for (const unit of ["B", "KB", "MB"]) {
    if (amount < 1024) return unit === "B" || amount >= 10 ? `${amount.toFixed(0)} ${unit}` : `${amount.toFixed(1)} ${unit}`;
    amount /= 1024;
  }
  return `${amount.toFixed(1)} GB`;
}
