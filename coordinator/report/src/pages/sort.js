'use strict';
// Tables are sorted by their headings: rising, falling, and as they were. Paper always has the order of the document.
for (const table of document.querySelectorAll('table.sorts')) {
  const body = table.tBodies[0];
  const inOrder = [...body.rows];
  const headings = [...table.tHead.rows[0].cells];
  const key = (row, column, numeric) => {
    const text = row.cells[column].textContent;
    if (!numeric || text === '') return text;
    return { inf: Infinity, '-inf': -Infinity }[text] ?? Number(text.replace(/^< /, ''));
  };
  const sorted = () => {
    const column = headings.findIndex((heading) => heading.hasAttribute('aria-sort'));
    if (column < 0) return inOrder;
    const numeric = headings[column].classList.contains('n');
    const sign = headings[column].getAttribute('aria-sort') === 'ascending' ? 1 : -1;
    const compare = (one, other) => {
      const [a, b] = [key(one, column, numeric), key(other, column, numeric)];
      // Rows without a value come last, whichever way is up.
      if (a === '' || b === '') return (a === '') - (b === '');
      if (numeric && (Number.isNaN(a) || Number.isNaN(b))) return Number.isNaN(a) - Number.isNaN(b);
      if (numeric) return sign * (a > b ? 1 : a < b ? -1 : 0);
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
