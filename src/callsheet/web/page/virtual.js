// A list of any length of which only what can be seen is in the document.

import { h, sync } from "./dom.js";

const MORE_ROWS = 8;
const PAGE_ROWS = 10;

/**
 * Rows of one height in a box that scrolls. Arrow keys, Page Up and Down, Home and End move from row to row; one row is in the
 * order of Tab.
 */
export class VirtualList {
  /**
   * @param {object} options
   * @param {number} options.rowHeight In pixels.
   * @param {function} options.row `(item, index) → element`; given the role and place of a row here.
   * @param {function} options.key `item → text`.
   * @param {string} options.role Of each row.
   * @param {number} options.firstIndex `aria-rowindex` of the first: 2 beneath a line of headings.
   */
  constructor({ rowHeight, row, key, role = "row", firstIndex = 2, label = null, boxRole = "rowgroup" }) {
    Object.assign(this, { rowHeight, row, key, role, firstIndex });
    this.items = [];
    this.active = 0;
    this.space = h("div", { class: "v-space", role: "presentation" });
    this.element = h("div", { class: "v-box", role: boxRole, "aria-label": label }, this.space);
    this.element.addEventListener("scroll", () => this.draw(), { passive: true });
    this.element.addEventListener("keydown", (event) => this.move(event));
    this.element.addEventListener("focusin", (event) => this.follow(event));
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  /** Shows these. */
  set(items) {
    const current = this.items[this.active];
    this.items = items;
    if (current !== undefined) {
      const key = this.key(current);
      if (this.key(items[this.active] ?? current) !== key || !items.length) {
        const place = items.findIndex((item) => this.key(item) === key);
        this.active = place >= 0 ? place : Math.min(this.active, Math.max(0, items.length - 1));
      }
    }
    this.active = Math.min(this.active, Math.max(0, items.length - 1));
    this.draw();
  }

  /** Brings the rows that can be seen up to date. */
  draw() {
    const height = this.element.clientHeight || 600;
    const first = Math.max(0, Math.floor(this.element.scrollTop / this.rowHeight) - MORE_ROWS);
    const last = Math.min(this.items.length, Math.ceil((this.element.scrollTop + height) / this.rowHeight) + MORE_ROWS);
    this.space.style.height = `${this.items.length * this.rowHeight}px`;
    const places = Array.from({ length: Math.max(0, last - first) }, (_, at) => first + at);
    if (this.items.length && (this.active < first || this.active >= last)) places.push(this.active); // keeps the focus
    sync(this.space, places.map((place) => this.place(place)));
  }

  place(at) {
    const item = this.items[at];
    const row = this.row(item, at);
    row.ownKey = this.key(item);
    row.classList.add("v-row");
    row.style.transform = `translateY(${at * this.rowHeight}px)`;
    row.style.height = `${this.rowHeight}px`;
    row.setAttribute("role", this.role);
    if (this.role === "row") row.setAttribute("aria-rowindex", String(at + this.firstIndex));
    else {
      row.setAttribute("aria-posinset", String(at + 1));
      row.setAttribute("aria-setsize", String(this.items.length));
    }
    row.setAttribute("tabindex", at === this.active ? "0" : "-1");
    row.dataset.at = String(at);
    return row;
  }

  follow(event) {
    const row = event.target.closest(".v-row");
    if (row && Number(row.dataset.at) !== this.active) {
      this.active = Number(row.dataset.at);
      this.draw();
    }
  }

  move(event) {
    const last = this.items.length - 1;
    const to = {
      ArrowDown: this.active + 1, ArrowUp: this.active - 1, PageDown: this.active + PAGE_ROWS, PageUp: this.active - PAGE_ROWS,
      Home: 0, End: last,
    }[event.key];
    const row = event.target.closest(".v-row");
    if (!row || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Enter" && event.target === row) {
      (row.matches("a") ? row : row.querySelector("a"))?.click();
      event.preventDefault();
    } else if (to !== undefined && last >= 0) {
      event.preventDefault();
      this.show(Math.min(last, Math.max(0, to)));
    }
  }

  /** Brings a row into sight and gives it the focus. */
  show(at) {
    this.active = at;
    const top = at * this.rowHeight;
    const box = this.element;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + this.rowHeight > box.scrollTop + box.clientHeight) box.scrollTop = top + this.rowHeight - box.clientHeight;
    this.draw();
    this.space.querySelector('[tabindex="0"]')?.focus({ preventScroll: true });
  }
}
