(() => {
  "use strict";
  const STRONGEST = 5;

  // Two texts: the word in view shades the other text by its row or column of the table.
  document.querySelectorAll(".pair-view").forEach((view) => {
    const { values, full, digits } = JSON.parse(view.querySelector(".values").textContent);
    const sides = { a: view.querySelector('[data-side="a"]'), b: view.querySelector('[data-side="b"]') };
    const units = { a: [...sides.a.querySelectorAll(".u")], b: [...sides.b.querySelectorAll(".u")] };
    const line = view.querySelector(".linked");
    const usual = new Map([...units.a, ...units.b].map((unit) =>
      [unit, { s: unit.style.getPropertyValue("--s"), c: unit.className }]));

    const written = (value) => value.toFixed(digits).replace(/^-(?=0\.?0*$)/, "").replace("-", "−");
    const paint = (unit, value) => {
      const shade = Math.max(-1, Math.min(1, full ? value / full : 0));
      unit.style.setProperty("--s", Math.abs(shade).toFixed(3));
      unit.classList.toggle("neg", shade < 0);
      unit.classList.toggle("strong", shade < -0.25);
    };
    const part = (name, text) => {
      const element = document.createElement(name === "bdi" ? "bdi" : "span");
      if (name !== "bdi") element.className = name;
      element.textContent = text;
      return element;
    };
    const clear = () => {
      usual.forEach(({ s, c }, unit) => { unit.style.setProperty("--s", s); unit.className = c; });
      view.querySelectorAll("td.at").forEach((cell) => cell.classList.remove("at"));
    };
    const idle = () => {
      clear();
      line.classList.remove("on");
      line.replaceChildren(part("idle", "Point at a word or tap it to see what it pairs with."));
    };
    const link = (side, index) => {
      clear();
      const other = side === "a" ? "b" : "a";
      const row = units[other].map((_, j) => (side === "a" ? values[index][j] : values[j][index]));
      units[other].forEach((unit, j) => paint(unit, row[j]));
      units[side][index].classList.add("at");
      const best = row.map((value, j) => [value, j])
        .sort((x, y) => Math.abs(y[0]) - Math.abs(x[0])).slice(0, STRONGEST);
      const said = [part("bdi", `“${units[side][index].textContent}”`), " with "];
      best.forEach(([value, j]) => {
        const one = part("with", "");
        one.append(part("bdi", units[other][j].textContent), ` ${written(value)}`);
        said.push(one);
      });
      line.replaceChildren(...said);
      // in sight, unless it would lie on the word itself
      const low = units[side][index].getBoundingClientRect().bottom + line.offsetHeight;
      line.classList.toggle("on", low < innerHeight);
    };

    // What has the focus stays linked; pointing shows another for as long as it lasts.
    const placeOf = (unit) => {
      const side = units.a.includes(unit) ? "a" : "b";
      return [side, units[side].indexOf(unit)];
    };
    const settle = () => {
      const held = document.activeElement;
      if (usual.has(held)) link(...placeOf(held));
      else idle();
    };
    Object.values(sides).forEach((text) => {
      const unitOf = (event) => event.target.closest(".u");
      ["mouseover", "focusin"].forEach((kind) => text.addEventListener(kind, (event) =>
        unitOf(event) && link(...placeOf(unitOf(event)))));
      text.addEventListener("mouseout", settle);
      text.addEventListener("focusout", idle);
      text.addEventListener("keydown", (event) => {
        if (event.key === "Escape") document.activeElement.blur();
      });
    });
    const matrix = view.querySelector(".matrix");
    matrix.addEventListener("mouseover", (event) => {
      const cell = event.target.closest("td[data-i]");
      clear();
      if (!cell) return;
      cell.classList.add("at");
      [units.a[cell.dataset.i], units.b[cell.dataset.j]].forEach((unit) => unit && unit.classList.add("at"));
    });
    matrix.addEventListener("mouseout", settle);
    line.hidden = false;
    idle();
  });
})();
