// Draws the charts of a tab when it is first shown, in the colours of the page.
"use strict";
const drawn = new Set();
const style = () => getComputedStyle(document.documentElement);

function colours() {
  const ink = style().getPropertyValue("--ink").trim(), line = style().getPropertyValue("--line").trim();
  return {
    "font.color": ink, "xaxis.gridcolor": line, "yaxis.gridcolor": line, "xaxis.linecolor": line, "yaxis.linecolor": line,
    "hoverlabel.bgcolor": style().getPropertyValue("--card").trim(), "hoverlabel.font.color": ink,
  };
}

function draw(panel) {
  for (const told of panel.querySelectorAll("script[data-for]")) {
    const place = document.getElementById(told.dataset.for);
    if (drawn.has(place.id)) { Plotly.Plots.resize(place); continue; }
    const figure = JSON.parse(told.textContent);
    Plotly.newPlot(place, figure.data, figure.layout, { responsive: true, displayModeBar: false });
    Plotly.relayout(place, colours());
    drawn.add(place.id);
  }
}

const tabs = [...document.querySelectorAll('[role="tab"]')];
function show(tab) {
  for (const other of tabs) {
    other.setAttribute("aria-selected", String(other === tab));
    other.tabIndex = other === tab ? 0 : -1;
    document.getElementById(other.getAttribute("aria-controls")).hidden = other !== tab;
  }
  draw(document.getElementById(tab.getAttribute("aria-controls")));
}
const link = (tab) => "#" + tab.getAttribute("aria-controls");
function choose(tab) {
  show(tab);
  history.replaceState(null, "", link(tab));  // The address can be sent on.
}
tabs.forEach((tab, number) => {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(number + step + tabs.length) % tabs.length];
    next.focus();
    choose(next);
  });
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const id of drawn) Plotly.relayout(id, colours());
});
const asked = () => tabs.find((tab) => link(tab) === location.hash) || tabs[0];
addEventListener("hashchange", () => show(asked()));
show(asked());
