"use strict";
(() => {
  // What a point of a chart says is shown where the pointer or the focus is.
  const tip = document.getElementById("tip");
  const show = (event) => {
    const target = event.target.closest ? event.target.closest("[data-tip]") : null;
    if (!target) { tip.hidden = true; return; }
    tip.textContent = target.dataset.tip;
    tip.hidden = false;
    const box = target.getBoundingClientRect();
    const left = Math.min(box.left + box.width / 2 + 10, innerWidth - tip.offsetWidth - 8);
    const above = box.top - tip.offsetHeight - 8;
    tip.style.left = `${Math.max(8, left) + scrollX}px`;
    tip.style.top = `${(above > 0 ? above : box.bottom + 8) + scrollY}px`;
  };
  for (const name of ["pointerover", "focusin"]) document.addEventListener(name, show);
  document.addEventListener("focusout", () => { tip.hidden = true; });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));

  const source = document.getElementById("samples");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const pick = (id) => document.getElementById(id);
  const [left, right, filter, words, list, more, counted] =
    ["left", "right", "filter", "words", "examples", "more", "counted"].map(pick);
  const PAGE = 10;
  let shown = PAGE;

  const add = (parent, name, text, css) => {
    const element = document.createElement(name);
    if (text !== undefined && text !== null) element.textContent = text;
    if (css) element.className = css;
    parent.append(element);
    return element;
  };
  // More than half of its seeds are right.
  const isRight = (example, place) => 2 * example.answers[place].right > data.seeds[place];
  const ahead = (example, a, b) => example.answers[a].score - example.answers[b].score;
  const filters = data.metric ? {
    all: () => true,
    differ: (example, a, b) => Math.abs(ahead(example, a, b)) >= 0.1,
    right: (example, a, b) => ahead(example, b, a) > 0,
    left: (example, a, b) => ahead(example, a, b) > 0,
  } : {
    all: () => true,
    differ: (example, a, b) => example.answers[a].right * data.seeds[b] !== example.answers[b].right * data.seeds[a]
      || example.answers[a].label !== example.answers[b].label,
    right: (example, a, b) => isRight(example, b) && !isRight(example, a),
    left: (example, a, b) => isRight(example, a) && !isRight(example, b),
    wrong: (example, a, b) => !isRight(example, a) && !isRight(example, b),
  };
  const matches = (example, text) => !text
    || `${example.id} ${example.input ?? ""} ${example.gold}`.toLowerCase().includes(text);

  const side = (parent, title, label, answer, of, rationale) => {
    const box = add(parent, "div");
    add(box, "h4", title);
    const line = add(box, "div", label ?? "no answer");
    if (of && data.metric) add(line, "span", ` ${data.metric} ${answer.score.toFixed(3)}`, "small");
    else if (of) {
      const right = answer.right;
      const css = 2 * right > of ? "right" : "wrong";
      add(line, "span", of === 1 ? (right ? " ✓" : " ✗") : ` ${right}/${of} seeds right`, css);
    }
    if (rationale) add(box, "div", rationale, "rationale");
  };
  const draw = () => {
    const a = Number(left.value), b = Number(right.value), text = words.value.trim().toLowerCase();
    const found = data.examples.filter((one) => filters[filter.value](one, a, b) && matches(one, text));
    list.replaceChildren();
    for (const example of found.slice(0, shown)) {
      const box = add(list, "article", null, "example");
      add(box, "div", example.id, "small");
      add(box, "div", example.input ?? "(the input was not kept)", "input");
      const sides = add(box, "div", null, "sides");
      side(sides, "gold", example.gold, null, 0, null);
      for (const place of new Set([a, b])) {
        const answer = example.answers[place];
        side(sides, data.names[place], answer.label, answer, data.seeds[place], answer.rationale);
      }
      if (example.teacher) side(sides, "teacher", example.teacher.label, null, 0, example.teacher.rationale);
    }
    counted.textContent = `${found.length} of ${data.examples.length} examples`;
    more.hidden = found.length <= shown;
  };
  for (const field of [left, right, filter, words]) field.addEventListener("input", () => { shown = PAGE; draw(); });
  more.addEventListener("click", () => { shown += PAGE; draw(); });
  const differing = (one) => filters.differ(one, Number(left.value), Number(right.value));
  if (data.names.length > 1 && data.examples.some(differing)) filter.value = "differ";
  draw();
})();
