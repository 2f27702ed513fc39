'use strict';
// Tables are sorted by their headings: rising, falling, and as they were. Paper always has the order of the document.
for (const table of document.querySelectorAll('table.sorts')) {
  const body = table.tBodies[0];
  const inOrder = [...body.rows];
  const headings = [...table.tHead.rows[0].cells];
  // The number that a cell begins with, such as a share or the lower end of an interval; NaN where it begins with none.
  const begins = /^(?:< )?(-?)(inf|\d+(?:\.\d+)?(?:e[-+]?\d+)?)(?![\w.])/;
  const number = (text) => {
    const [, sign, size] = begins.exec(text) ?? [null, '', 'NaN'];
    return (sign === '-' ? -1 : 1) * (size === 'inf' ? Infinity : Number(size));
  };
  const sorted = () => {
    const column = headings.findIndex((heading) => heading.hasAttribute('aria-sort'));
    if (column < 0) return inOrder;
    const text = (row) => row.cells[column].textContent;
    const isNumber = (row) => text(row) === '' || !Number.isNaN(number(text(row)));
    const numeric = headings[column].classList.contains('n') || inOrder.every(isNumber);
    const sign = headings[column].getAttribute('aria-sort') === 'ascending' ? 1 : -1;
    const compare = (one, other) => {
      const [a, b] = [text(one), text(other)];
      // Rows without a value come last, whichever way is up.
      if (a === '' || b === '') return (a === '') - (b === '');
      const [x, y] = numeric ? [number(a), number(b)] : [0, 0];
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
      if (x !== y) return sign * (x > y ? 1 : -1);
      return sign * a.localeCompare(b, document.documentElement.lang, { numeric: true });
    };
    return [...inOrder].sort(compare);
  };
  for (const heading of headings) {
    const button = document.createElement('button');
    button.type = 'button';
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener('click', () => {
      const next = { ascending: 'descending', descending: null }[heading.getAttribute('aria-sort')];
      headings.forEach((one) => one.removeAttribute('aria-sort'));
      if (next !== null) heading.setAttribute('aria-sort', next ?? 'ascending');
      body.append(...sorted());
    });
  }
  addEventListener('beforeprint', () => body.append(...inOrder));
  addEventListener('afterprint', () => body.append(...sorted()));
}
