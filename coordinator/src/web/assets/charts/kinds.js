// The menu of a chart's axes: which of them are logarithmic.

import { el, fill, foreign } from '../dom.js';
import { clipped } from '../format.js';
import { t } from '../strings.js';

/** The menu. `axes` gives the axes as they are when it is opened: {name, label, scale}. */
export function kinds(selection, axes) {
  const pane = el('div', { class: 'pane checks' });
  const one = (axis) => {
    const check = el('input', { type: 'checkbox', checked: axis.scale.isLog, disabled: !axis.scale.canBeLog, onchange: () => selection.makeLog(axis, check.checked) });
    return el('label', {}, check, foreign(clipped(axis.label, 60)));
  };
  const show = () => fill(pane, el('p', { class: 'note', text: t('log_axes_hint') }), axes().filter(({ scale }) => !scale.names).map(one));
  return el('details', { class: 'menu', ontoggle: ({ target }) => target.open && show() }, el('summary', { text: t('log_axes') }), pane);
}
