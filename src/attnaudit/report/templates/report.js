(() => {
  "use strict";
  const tip = document.getElementById("tip");

  // Charts: the still picture stays until the live one is drawn, and whenever that fails.
  const draw = async (figure) => {
    const live = figure.querySelector(".live");
    const spec = JSON.parse(document.getElementById(figure.dataset.chart).textContent);
    live.hidden = false;
    try {
      await window.vegaEmbed(live, spec, {
        actions: false, renderer: "svg", ast: true, defaultStyle: false,
        tooltip: { theme: "custom" },
      });
      figure.classList.add("drawn");
    } catch (error) {
      live.hidden = true;
      live.textContent = "";
      console.warn("chart not drawn, its still picture is shown", error);
    }
  };
  // What is folded has no width to draw in: it is drawn when it is unfolded.
  const ready = (figure) => {
    const closed = figure.closest("details:not([open])");
    if (!closed) draw(figure);
    else closed.addEventListener("toggle", () => ready(figure), { once: true });
  };
  if (window.vegaEmbed) document.querySelectorAll("figure[data-chart]").forEach(ready);

  // Units: the title becomes a tip that also shows on focus and tap; one tab stop a row.
  let shown = null;
  const place = () => {
    if (!shown) return;
    const at = shown.getClientRects()[0] || shown.getBoundingClientRect();
    const box = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, at.left + at.width / 2 - box.width / 2),
      document.documentElement.clientWidth - box.width - 8);
    const above = at.top - box.height - 6;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 4 ? above : at.bottom + 6}px`;
  };
  const show = (unit) => {
    shown = unit;
    tip.textContent = unit.getAttribute("aria-label");
    tip.hidden = false;
    place();
  };
  const hide = () => { shown = null; tip.hidden = true; };
  document.querySelectorAll(".units").forEach((row) => {
    const units = [...row.querySelectorAll(".u")];
    units.forEach((unit, index) => {
      unit.setAttribute("aria-label", unit.title);
      unit.removeAttribute("title");
      unit.tabIndex = index ? -1 : 0;
    });
    const unitOf = (event) => event.target.closest(".u");
    row.addEventListener("mouseover", (event) => unitOf(event) && show(unitOf(event)));
    row.addEventListener("mouseout", hide);
    row.addEventListener("focusin", (event) => unitOf(event) && show(unitOf(event)));
    row.addEventListener("focusout", hide);
    row.addEventListener("click", (event) => unitOf(event) && unitOf(event).focus());
    row.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") hide();
      if (!step) return;
      const turned = getComputedStyle(row).direction === "rtl" && event.key.length > 9 ? -step : step;
      const next = units[units.indexOf(unitOf(event)) + turned];
      event.preventDefault();
      if (!next) return;
      units.forEach((unit) => { unit.tabIndex = unit === next ? 0 : -1; });
      next.focus();
    });
  });
  addEventListener("scroll", place, { passive: true });
  addEventListener("resize", place);

  // Print: what is folded is unfolded, and folded again afterwards.
  let folded = [];
  const unfold = () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((one) => { one.open = true; });
  };
  const fold = () => { folded.forEach((one) => { one.open = false; }); folded = []; };
  matchMedia("print").addEventListener("change", (event) => (event.matches ? unfold() : fold()));

  // A link into a folded part unfolds it.
  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const around = target && target.closest("details");
    if (around) around.open = true;
  };
  addEventListener("hashchange", reveal);
  reveal();
})();
