"use strict";
// The charts: Vega-Lite draws them as SVG in the page's own colours, one after the other once the page is there.
(function () {
  const axis = {
    labelColor: "var(--ink)",
    titleColor: "var(--muted)",
    gridColor: "var(--line)",
    domainColor: "var(--line)",
    tickColor: "var(--line)",
    titleFontWeight: "normal",
    tickCount: 6,
    labelFontSize: 12,
    titleFontSize: 12,
  };
  const config = {
    background: "transparent",
    font: "system-ui, sans-serif",
    view: { stroke: null },
    axis,
    legend: { labelColor: "var(--ink)", labelFontSize: 12 },
    text: { color: "var(--ink)" },
  };

  async function draw(place) {
    const spec = Atlas.json(`chart-${place.dataset.chart}`);
    const options = { mode: "vega-lite", renderer: "svg", actions: false, ast: true, config };
    const { view } = await window.vegaEmbed(place, spec, options);
    const wanted = { confusion: (one) => one.actual && { truth: one.actual, guess: one.predicted }, reliability: (one) => one.count && { bin: one.confidence } };
    const ask = wanted[place.dataset.chart];
    if (ask && Atlas.showPhotos)
      view.addEventListener("click", (_, item) => {
        const found = item && item.datum && ask(item.datum);
        if (found) Atlas.showPhotos(found);
      });
    // Names at an axis that are cut are whole when pointed at.
    for (const label of place.querySelectorAll(".role-axis-label text")) {
      const whole = label.__data__.datum.label;
      if (whole !== label.textContent) label.append(Object.assign(document.createElementNS(label.namespaceURI, "title"), { textContent: whole }));
    }
    place.dataset.drawn = "yes";
  }

  Atlas.drawCharts = function () {
    Atlas.ready.charts = (async () => {
      for (const place of document.querySelectorAll(".plot")) {
        await new Promise((resolve) => setTimeout(resolve, 0));
        await draw(place);
      }
    })();
  };
})();
