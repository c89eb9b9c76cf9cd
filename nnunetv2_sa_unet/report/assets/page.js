/* The table and the keys of the page; the viewer is in viewer.js. A classic script: a page opened from a file may not
   load modules. */
(function () {
  "use strict";
  const table = document.getElementById("subjects");
  const body = table.tBodies[0];
  const sections = document.getElementById("sections");

  function sectionOf(row) {
    return document.getElementById(decodeURIComponent(row.querySelector("a").hash.slice(1)));
  }

  function sort(head, direction) {
    const column = head.cellIndex;
    const numbers = head.dataset.kind !== "text";
    const order = direction === "ascending" ? 1 : -1;
    const rows = Array.from(body.rows, (row) => ({ row: row, value: row.cells[column].dataset.value }));
    rows.sort(function (a, b) {
      // What has no value comes last in both directions.
      if (a.value === "" || b.value === "") return (a.value === "") - (b.value === "");
      if (numbers) return order * (Number(a.value) - Number(b.value));
      return order * a.value.localeCompare(b.value, "en", { numeric: true });
    });
    for (const other of table.tHead.querySelectorAll("th[aria-sort]")) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", direction);
    for (const entry of rows) {
      body.append(entry.row);
      sections.append(sectionOf(entry.row));
    }
  }

  table.tHead.addEventListener("click", function (event) {
    const button = event.target.closest("button");
    if (!button) return;
    const head = button.closest("th");
    const now = head.getAttribute("aria-sort");
    // What is worth a look is at the large end of numbers and at the start of the alphabet.
    const first = head.dataset.kind !== "text" ? "descending" : "ascending";
    const second = first === "ascending" ? "descending" : "ascending";
    sort(head, now === first ? second : first);
  });

  function current() {
    const within = document.activeElement && document.activeElement.closest(".subject");
    if (within) {
      const box = within.getBoundingClientRect();
      if (box.top < innerHeight && box.bottom > 0) return within;
    }
    let found = null;
    for (const section of sections.children) {
      if (section.getBoundingClientRect().top > innerHeight / 3) break;
      found = section;
    }
    return found;
  }

  function go(section) {
    if (!section) return;
    section.scrollIntoView({ block: "start" });
    section.focus({ preventScroll: true });
  }

  function step(from, forward) {
    if (!from) go(forward ? sections.firstElementChild : null);
    else go(forward ? from.nextElementSibling : from.previousElementSibling);
  }

  function toTable() {
    const head = document.getElementById("cohort");
    head.scrollIntoView({ block: "start" });
    head.focus({ preventScroll: true });
  }

  sections.addEventListener("click", function (event) {
    const button = event.target.closest("button.next, button.previous");
    if (button) step(button.closest(".subject"), button.matches(".next"));
  });

  // The row of the subject that was last gone to is marked, so that one finds back.
  sections.addEventListener("focusin", function (event) {
    const section = event.target.closest(".subject");
    for (const row of body.rows) row.classList.toggle("here", sectionOf(row) === section);
  });

  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
    const actions = {
      n: () => step(current(), true),
      p: () => step(current(), false),
      t: toTable,
      o: () => document.body.classList.toggle("bare"),
      v: function () {
        const section = current();
        const button = section && section.querySelector("button.open");
        if (button) button.click();
      },
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
})();
