// Brings what changes on a page, and makes a few things quicker to use. Everything on a page works without it.
"use strict";

(() => {
  const state = document.getElementById("live-state");
  const LINES_MAX = 2000;
  let sources = [];
  let paused = false;

  const say = (text) => {
    if (state && state.firstChild?.nodeValue !== text) state.textContent = text;
  };

  // A part comes whole. Whoever stands in it with the keyboard, or has opened something in it, stays there.
  const put = ({ id, html }) => {
    const old = document.getElementById(id);
    if (!old) return;
    const made = document.createElement("template");
    made.innerHTML = html;
    const part = made.content.firstElementChild;
    if (!part || part.outerHTML === old.outerHTML) return;
    const mark = (of) => of && (of.id ? `#${CSS.escape(of.id)}` : of.getAttribute("href") && `a[href="${CSS.escape(of.getAttribute("href"))}"]`);
    const focused = old.contains(document.activeElement) ? mark(document.activeElement) : null;
    for (const open of old.querySelectorAll("details[open][id]")) {
      part.querySelector(`#${CSS.escape(open.id)}`)?.setAttribute("open", "");
    }
    old.replaceWith(part);
    if (focused) part.querySelector(focused)?.focus({ preventScroll: true });
  };

  // A line more at the end of a list; the list stays at its end if that is where it was.
  const append = ({ id, html, next }) => {
    const list = document.getElementById(id);
    if (!list) return;
    // Who comes again after a pause goes on from here.
    if (next) list.dataset.lines = list.dataset.lines.replace(/from=\d+/, `from=${next}`);
    const box = list.closest(".lines") ?? list;
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    list.insertAdjacentHTML("beforeend", html);
    while (list.childElementCount > LINES_MAX) list.firstElementChild.remove();
    if (atEnd) box.scrollTop = box.scrollHeight;
  };

  const close = () => {
    for (const source of sources) source.close();
    sources = [];
  };

  const open = () => {
    if (sources.length || paused || document.hidden) return;
    const lists = [...document.querySelectorAll("[data-lines]")];
    const addresses = [document.body.dataset.live, ...lists.map((list) => list.dataset.lines)];
    for (const address of addresses.filter(Boolean)) {
      const source = new EventSource(address);
      source.onopen = () => say("Live");
      // A browser tries again what broke off, and never what was refused.
      const isOver = () => source.readyState === EventSource.CLOSED;
      source.onerror = () => say(isOver() ? "What changes is not told here; load the page again" : "The connection is lost; trying again");
      source.addEventListener("part", (event) => put(JSON.parse(event.data)));
      source.addEventListener("line", (event) => append(JSON.parse(event.data)));
      source.addEventListener("gone", () => {
        close();
        say("This page can't be shown any more; load it again to see why");
      });
      sources.push(source);
    }
  };

  if (document.body.dataset.live && state) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Pause";
    button.addEventListener("click", () => {
      paused = !paused;
      button.textContent = paused ? "Go on" : "Pause";
      if (paused) {
        close();
        say("Paused");
      } else {
        open();
      }
    });
    state.after(button);
  }

  // A browser has few connections to one server: a window that nobody sees gives its back.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  for (const box of document.querySelectorAll(".lines")) box.scrollTop = box.scrollHeight;
  open();

  // "/" goes to the first field of a page's form, as in many tools.
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const field = document.querySelector("main form.ask input:not([type=hidden]), main form.ask select");
      if (field) {
        event.preventDefault();
        field.focus();
      }
    }
  });

  // Opens or closes all of a tree at once.
  for (const tree of document.querySelectorAll("[data-tree]")) {
    const bar = document.createElement("p");
    bar.className = "tools";
    for (const [label, isOpen] of [["Open all", true], ["Close all", false]]) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = label;
      button.addEventListener("click", () => {
        for (const details of tree.querySelectorAll("details.span")) details.open = isOpen;
      });
      bar.append(button);
    }
    tree.before(bar);
  }
})();
