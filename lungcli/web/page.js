// Slices under a slider, a table that sorts, a heat-map that fades and that the server makes once its slice is open.
(() => {
  const results = () => document.querySelector("#results .lung-results");
  let known = null;
  let asked = null;
  let resting = 0;
  // How long a slice is looked at before its heat-map is made, and when an answer will not come any more.
  const RESTING_MS = 150, LOST_MS = 150000;
  let heat = { on: true, strength: 100 };

  function bringIntoView(element) {
    const top = element.getBoundingClientRect().top;
    if (top < 0 || top > innerHeight / 6) element.scrollIntoView({ block: "start" });
  }

  function applyHeat() {
    document.documentElement.style.setProperty("--lung-heat", heat.on ? heat.strength / 100 : 0);
    document.querySelectorAll(".lung-heat-on").forEach((box) => { box.checked = heat.on; });
    document.querySelectorAll(".lung-heat-strength").forEach((range) => { range.value = heat.strength; });
  }

  // One at a time, of the slice that is open then: whoever moves the slider asks for none of those passed by.
  function askForHeat() {
    const card = results()?.querySelector(".lung-card[data-heat]:not([hidden])");
    if (!card || (asked && performance.now() - asked.at < LOST_MS)) return;
    asked = { of: card.dataset.heat, at: performance.now() };
    card.querySelector(".lung-heat-note").textContent = "computing the heat-map …";
    document.dispatchEvent(new CustomEvent("lung-heat-wanted", { detail: { of: asked.of } }));
  }

  function layHeat({ of, caption, layer }) {
    if (asked?.of === of) asked = null;
    const card = results()?.querySelector(`.lung-card[data-heat="${of}"]`);
    if (card) {
      delete card.dataset.heat;
      card.querySelector(".lung-heat-note").textContent = caption;
      card.querySelectorAll(".lung-controls input").forEach((control) => { control.disabled = !layer; });
      card.querySelector(".lung-controls").hidden = !layer;
      const image = Object.assign(new Image(), { alt: caption, className: "lung-heat" });
      image.src = `data:image/png;base64,${layer}`;
      if (layer) card.querySelector(".lung-stack").append(image);
    }
    askForHeat();
  }

  function show(number) {
    const cards = results().querySelectorAll(".lung-card");
    cards.forEach((card, at) => { card.hidden = at !== number - 1; });
    const range = results().querySelector(".lung-slice");
    const text = `${number} of ${cards.length}`;
    range.value = number;
    range.setAttribute("aria-valuetext", `${text}: ${cards[number - 1].querySelector("h2").textContent}`);
    results().querySelector("output").textContent = text;
    results().querySelectorAll("tbody tr").forEach((row) => {
      const open = row.querySelector(".lung-open");
      if (open) row.classList.toggle("lung-chosen", Number(open.dataset.slice) === number);
    });
    clearTimeout(resting);
    resting = setTimeout(askForHeat, RESTING_MS);
  }

  function sort(head) {
    const table = head.closest("table");
    const column = [...head.parentElement.children].indexOf(head);
    const down = head.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => Number(row.children[column].dataset.key);
    const rows = [...table.tBodies[0].rows].sort((a, b) => (down ? key(b) - key(a) : key(a) - key(b)));
    table.tBodies[0].append(...rows);
  }

  function follow() {
    const status = document.querySelector("#status");
    if (status && !status.hasAttribute("aria-live")) status.setAttribute("aria-live", "polite");
    askForHeat();
    const newest = results() || document.querySelector("#status .lung-progress");
    if (!newest || newest === known) return;
    // The answer comes first: on a phone it lies below all inputs.
    const counts = (element) => element?.matches(".lung-progress");
    if (!(counts(known) && counts(newest))) bringIntoView(document.querySelector("#answer"));
    known = newest;
    applyHeat();
    const range = newest.querySelector(".lung-slice");
    if (range) show(Number(range.value));
  }

  document.addEventListener("input", ({ target }) => {
    if (target.matches(".lung-slice")) show(Number(target.value));
    if (target.matches(".lung-heat-on")) heat = { ...heat, on: target.checked };
    if (target.matches(".lung-heat-strength")) heat = { on: true, strength: Number(target.value) };
    if (target.matches(".lung-heat-on, .lung-heat-strength")) applyHeat();
  });
  document.addEventListener("click", ({ target }) => {
    const head = target.closest(".lung-table thead th");
    if (head && head.querySelector("button")) sort(head);
    const row = target.closest(".lung-table tbody tr");
    if (!row) return;
    show(Number(row.querySelector(".lung-open").dataset.slice));
    bringIntoView(results().querySelector(".lung-viewer"));
  });
  document.addEventListener("lung-heat", ({ detail }) => layHeat(detail));
  new MutationObserver(follow).observe(document.documentElement, { childList: true, subtree: true });
})();
