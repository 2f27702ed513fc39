// A menu that the rows of a table share. It is no part of them: what comes meanwhile neither closes it nor takes away what has the focus, and
// no box that scrolls cuts it off.

import { el, update } from './dom.js';
import { t } from './strings.js';

const GAP = 4;

/** The menu. `items(key)` gives its buttons, which may be none. */
export class RowMenu {
  constructor(items) {
    this.items = items;
    this.key = null;
    this.isOpen = false;
    this.element = el('div', { class: 'row-menu', id: 'row-menu', popover: 'auto', role: 'group', ontoggle: () => this.toggled() });
    this.element.addEventListener('beforetoggle', ({ newState }) => (this.isOpen = newState === 'open'));
    // What a button asks is asked in its place, and who has answered comes back to the row.
    this.element.addEventListener('click', ({ target }) => target.closest('button') && this.element.hidePopover(), true);
    this.element.addEventListener('keydown', (event) => this.step(event));
    addEventListener('scroll', () => this.place(), { capture: true, passive: true });
    addEventListener('resize', () => this.place());
  }

  /** The button of a row. */
  button(key, label) {
    return el('button', { type: 'button', class: 'more', popovertarget: 'row-menu', 'aria-label': label, title: label, text: '⋯', onclick: ({ currentTarget }) => this.of(key, label, currentTarget) });
  }

  /** Whose menu the press of a button opens or closes. */
  of(key, label, button) {
    if (key !== this.key && this.isOpen) this.element.hidePopover();
    Object.assign(this, { key, by: button });
    this.element.setAttribute('aria-label', label);
    this.fill();
    // Where it opens, until it is there and has a size.
    this.put();
  }

  fill() {
    update(this.element, this.items(this.key));
    if (!this.element.children.length) update(this.element, el('p', { class: 'note', text: t('no_actions') }));
  }

  /** What it offers may have changed, and its row be gone. */
  renew() {
    if (!this.isOpen) return;
    if (this.by.isConnected) this.fill();
    else this.element.hidePopover();
  }

  toggled() {
    if (!this.isOpen) return;
    this.place();
    this.element.querySelector('button')?.focus();
  }

  place() {
    if (this.isOpen) this.put();
  }

  /** Puts it by its button: below, or above where there is no room. */
  put() {
    const { left, top, bottom } = this.by.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = this.element;
    const below = bottom + GAP;
    this.element.style.left = `${Math.max(GAP, Math.min(left, innerWidth - width - GAP))}px`;
    this.element.style.top = `${below + height > innerHeight && top > height ? top - height - GAP : below}px`;
  }

  /** Arrow keys go from button to button. */
  step(event) {
    const way = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!way) return;
    event.preventDefault();
    const buttons = [...this.element.querySelectorAll('button')];
    buttons[(buttons.indexOf(document.activeElement) + way + buttons.length) % buttons.length]?.focus();
  }
}
