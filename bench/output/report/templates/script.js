
"use strict";
(() => {
  const root = document.documentElement;
  const data = JSON.parse(document.getElementById("data").textContent);
  const status = document.getElementById("status");
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const make = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  };
  const text = (value, digits = 3) =>
    value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", "−");
  const signed = (value) => (value > 0 ? "+" : "") + text(value);
  root.classList.add("js");

  // ---------------------------------------------------------------- light and dark
  const theme = document.getElementById("theme");
  const themes = ["auto", "light", "dark"];
  const remember = (value) => {
    try {
      if (value === undefined) return localStorage.getItem("labshift-theme");
      localStorage.setItem("labshift-theme", value);
    } catch { /* a page opened from disk may have no storage: the choice is not kept */ }
    return null;
  };
  const applyTheme = (value) => {
    if (value === "auto") root.removeAttribute("data-theme");
    else root.dataset.theme = value;
    theme.textContent = `Theme: ${value}`;
  };
  let current = themes.includes(remember()) ? remember() : "auto";
  applyTheme(current);
  theme.hidden = false;
  theme.addEventListener("click", () => {
    current = themes[(themes.indexOf(current) + 1) % themes.length];
    applyTheme(current);
    remember(current);
  });

  // ---------------------------------------------------------------- sorting
  const number = (cell) => {
    const value = parseFloat(cell.textContent.replace("−", "-").replace(",", ""));
    return Number.isNaN(value) ? null : value;
  };
  const sort = (table, column, head) => {
    const best = head.dataset.best || "low";
    const first = head.dataset.sort === "num" && best === "high" ? "descending" : "ascending";
    const second = first === "descending" ? "ascending" : "descending";
    const now = head.getAttribute("aria-sort");
    const next = now === null ? first : now === first ? second : null;
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    const rows = table.ordered.slice();
    if (next) {
      head.setAttribute("aria-sort", next);
      const sign = next === "ascending" ? 1 : -1;
      const keys = new Map(rows.map((row) => {
        const cell = row.cells[column];
        return [row, head.dataset.sort === "num" ? number(cell) : cell.textContent.trim()];
      }));
      rows.sort((a, b) => {
        const [x, y] = [keys.get(a), keys.get(b)];
        if (x === null || y === null) return (x === null) - (y === null);
        return sign * (typeof x === "number" ? x - y : x.localeCompare(y));
      });
    }
    for (const row of rows) {
      table.tBodies[0].append(row);
      if (row.detail) table.tBodies[0].append(row.detail);
    }
    status.textContent = next
      ? `Sorted by ${head.textContent.trim()}, ${next}.` : "Sorted by track and rank.";
  };

  // ---------------------------------------------------------------- a row, opened
  const listing = (head, rows) => make("table", {},
    make("thead", {}, make("tr", {}, ...head.map((name, i) =>
      make("th", { scope: "col", class: i ? "num" : "" }, name)))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell, i) =>
      make(i ? "td" : "th", i ? { class: "num" } : { scope: "row" }, cell))))));
  const titled = (title, ...children) => make("div", {}, make("h4", {}, title), ...children);
  const describe = (table, row, board, index) => {
    const entry = board.rows[index];
    const grid = make("div", { class: "grid" });
    const facts = make("dl");
    const fact = (name, value) => {
      if (value) facts.append(make("div", {}, make("dt", {}, name), make("dd", {}, value)));
    };
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, i) => {
      if (head.classList.contains("bar") || head.dataset.sort === "text" && i === 1) return;
      fact(head.textContent.trim(), row.cells[i].textContent.trim());
    });
    const [apply, steps, images, peak] = entry.k;
    fact("95 % interval", entry.i);
    fact("read-out", entry.s && board.readout);
    fact("uses", entry.a);
    fact("apply s", apply === null ? "" : apply.toFixed(2));
    fact("training steps", steps && steps.toLocaleString("en"));
    fact("images seen", images && images.toLocaleString("en"));
    fact("peak memory", peak && `${(peak / 2 ** 30).toFixed(1)} GiB`);
    fact("published", entry.r);
    for (const page of entry.m || [row.querySelector(".label").textContent]) {
      const link = make("a", { href: `#method/${encodeURIComponent(page)}` }, page);
      facts.append(make("div", {}, make("dt", {}, "about"), make("dd", {}, link)));
    }
    grid.append(titled("This row", facts));
    if (entry.s) {
      grid.append(titled("Seeds", listing(["seed", board.metric],
        entry.s.map((seed, i) => [String(seed), text(entry.v[i])]))));
    }
    if (entry.p && entry.p.some((value) => value !== null)) {
      const base = board.erm === null || board.erm === index ? null : board.rows[board.erm].p;
      const rows = board.names.flatMap((name, i) => {
        const value = entry.p[i];
        if (value === null || value === undefined) return [];
        if (!base) return [[name, text(value)]];
        const other = base[i];
        return [[name, text(value), text(other), other === null ? "–" : signed(value - other)]];
      });
      const head = base ? [board.level, "score", "ERM", "difference"] : [board.level, "score"];
      grid.append(titled(`Held-out batches, mean over seeds`, listing(head, rows)));
    }
    const commands = titled("Command",
      make("pre", { tabindex: "0" }, make("code", {}, entry.c || "not recorded")));
    commands.className = "cmd";
    if (entry.t) {
      commands.append(make("h4", {}, "Original command"),
        make("pre", { tabindex: "0" }, make("code", {}, entry.t.join("\n"))));
    }
    grid.append(commands);
    return grid;
  };
  const open = (table, row, board, index, button) => {
    if (row.detail) {
      row.detail.remove();
      row.detail = null;
      button.setAttribute("aria-expanded", "false");
      return;
    }
    const id = button.getAttribute("aria-controls");
    const cell = make("td", { colspan: String(row.cells.length) });
    cell.append(describe(table, row, board, index));
    row.detail = make("tr", { class: "detail", id }, cell);
    row.after(row.detail);
    button.setAttribute("aria-expanded", "true");
  };

  const sections = all(".board");
  for (const section of sections) {
    const at = Number(section.dataset.b);
    const board = data.boards[at];
    const table = section.querySelector("table");
    table.ordered = [...table.tBodies[0].rows];
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      if (!head.dataset.sort) return;
      const button = make("button", { type: "button" }, ...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(table, column, head));
    });
    if (!board) continue;
    table.ordered.forEach((row, index) => {
      const label = row.querySelector(".label");
      const button = make("button", {
        type: "button", class: "open", "aria-expanded": "false",
        "aria-controls": `row-${at}-${index}`,
      }, ...label.childNodes);
      label.replaceChildren(button);
      button.addEventListener("click", () => open(table, row, board, index, button));
    });
  }

  // ---------------------------------------------------------------- settings of one split
  const groups = new Map();
  for (const section of sections) {
    const key = `${section.dataset.split} ${section.dataset.edition}`;
    if (!groups.has(key)) groups.set(key, { members: [], chosen: section });
    section.group = groups.get(key);
    section.group.members.push(section);
  }
  for (const { members } of groups.values()) {
    if (members.length === 1) continue;
    members[0].after(...members.slice(1));
    for (const section of members) {
      const select = make("select", {}, ...members.map((other) =>
        make("option", {}, other.dataset.settings)));
      select.selectedIndex = members.indexOf(section);
      select.addEventListener("change", () => {
        choose(members[select.selectedIndex]);
        select.selectedIndex = members.indexOf(section);
        filter();
        section.group.chosen.querySelector("select").focus();
      });
      section.querySelector("h3").after(
        make("label", { class: "settings" }, `${members.length} boards of this split `, select));
    }
  }
  const choose = (section) => { section.group.chosen = section; };

  // ---------------------------------------------------------------- filtering
  const filters = document.getElementById("filters");
  const field = (id) => document.getElementById(id);
  const count = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;
  const filter = () => {
    const track = field("f-track").value;
    const method = field("f-method").value.trim().toLowerCase();
    let boards = 0;
    let lines = 0;
    for (const section of sections) {
      const hidden = section.group.chosen !== section
        || (field("f-data").value && field("f-data").value !== section.dataset.data)
        || (field("f-edition").value && field("f-edition").value !== section.dataset.edition);
      let shown = 0;
      if (!hidden) {
        for (const row of section.querySelector("table").ordered) {
          const fits = (!track || row.dataset.t === track)
            && (!method || row.querySelector(".label").textContent.toLowerCase().includes(method));
          row.hidden = !fits;
          if (row.detail) row.detail.hidden = !fits;
          shown += fits;
        }
      }
      section.hidden = Boolean(hidden) || shown === 0;
      boards += !section.hidden;
      lines += section.hidden ? 0 : shown;
    }
    field("none").hidden = boards > 0 || sections.length === 0;
    field("shown").textContent = `${count(boards, "board")}, ${count(lines, "row")}`;
  };
  if (sections.length) {
    filters.hidden = false;
    filters.addEventListener("input", filter);
    filters.addEventListener("submit", (event) => event.preventDefault());
    filters.addEventListener("reset", () => setTimeout(filter));
    filter();
  }

  // ---------------------------------------------------------------- figures
  const viewer = document.getElementById("viewer");
  const pane = viewer.querySelector(".pane");
  const large = pane.querySelector("img");
  let scale = 0;
  const fit = () => {
    const fitted = Math.min(1, (pane.clientWidth - 2) / large.naturalWidth);
    large.style.width = `${Math.round(large.naturalWidth * fitted * 1.4 ** scale)}px`;
  };
  for (const button of all(".zoom")) {
    button.addEventListener("click", () => {
      const image = button.querySelector("img");
      large.src = image.src;
      large.alt = image.alt;
      document.getElementById("viewer-name").textContent =
        button.parentNode.querySelector("figcaption b").textContent;
      scale = 0;
      viewer.showModal();
      large.decode().then(fit, fit);
    });
  }
  for (const button of all("[data-zoom]", viewer)) {
    button.addEventListener("click", () => {
      const step = Number(button.dataset.zoom);
      scale = step ? Math.max(-3, Math.min(6, scale + step)) : 0;
      fit();
    });
  }
  document.getElementById("viewer-close").addEventListener("click", () => viewer.close());

  // ---------------------------------------------------------------- deep links
  const home = document.title;
  const go = () => {
    let name = "";
    try {
      name = decodeURIComponent(location.hash.slice(1));
    } catch { /* not a link within this page */ }
    for (const page of all(".method.here")) page.classList.remove("here");
    const target = name ? document.getElementById(name) : null;
    const isPage = Boolean(target && target.classList.contains("method"));
    root.dataset.view = isPage ? "method" : "overview";
    document.title = isPage ? `${name.replace("method/", "")} · ${home}` : home;
    for (const link of all("nav a")) {
      const here = isPage ? link.hash === "#methods" : link.hash === `#${name}`;
      if (here) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    if (isPage) {
      target.classList.add("here");
      window.scrollTo(0, 0);
      target.querySelector("h2").focus({ preventScroll: true });
      return;
    }
    if (!target) return;
    if (target.classList.contains("board") && target.hidden) {
      filters.reset();
      choose(target);
      setTimeout(() => {
        filter();
        target.scrollIntoView();
      });
    }
    target.scrollIntoView();
  };
  window.addEventListener("hashchange", go);
  go();
})();
