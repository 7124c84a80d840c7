"use strict";
// Draws the map and the curves with BokehJS, and again whenever the colour scheme changes.
// Texts reach the page only as text nodes.
(() => {
  const GRID = 10000;
  const OURS = "#3b6cf0";
  const LINES = ["#8b8f9a", "#d9772b", "#12a08a", "#b052c9", "#c9a50b", "#e0567a", "#4f9a2f",
    "#2aa1d6", "#9a6b4b", "#7f7ae0", "#5d7f8f", "#b3446c", "#7d8a1f"];
  // A tip is inside a shadow root, where no rule of the page applies; it covers Bokeh's own frame.
  const TIP = "margin:-5px;padding:.5rem .7rem;max-width:22rem;background:var(--card);color:var(--ink);"
    + "box-shadow:0 0 0 1px var(--muted);font:13px/1.45 system-ui,sans-serif;white-space:pre-wrap;"
    + "overflow-wrap:anywhere";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(pointer: coarse)");
  const byId = (id) => document.getElementById(id);
  const read = (id) => byId(id) && JSON.parse(byId(id).textContent);
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function element(tag, words, attributes = {}) {
    const made = document.createElement(tag);
    if (words !== undefined) made.textContent = words;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  }

  function figure(height, options) {
    const ink = style("--muted");
    const drawn = Bokeh.Plotting.figure({
      sizing_mode: "stretch_width", height, toolbar_location: "above",
      background_fill_color: style("--card"), border_fill_color: style("--card"),
      outline_line_color: null, min_border: 8, ...options,
    });
    drawn.toolbar.logo = null;
    if (touch.matches) drawn.toolbar.active_drag = null; // a finger on the plot scrolls the page
    for (const axis of drawn.axes) {
      axis.axis_line_color = style("--line");
      axis.major_tick_line_color = style("--line");
      axis.minor_tick_line_color = null;
      axis.major_label_text_color = ink;
      axis.axis_label_text_color = ink;
      axis.axis_label_text_font_style = "normal";
    }
    for (const grid of drawn.grids) grid.grid_line_color = style("--line");
    return drawn;
  }

  async function show(drawn, place) {
    const canvas = element("div");
    place.replaceChildren(canvas);
    return Bokeh.Plotting.show(drawn, canvas);
  }

  // The map.
  function embeddingMap(data) {
    const place = byId("map-plot");
    const compare = byId("compare");
    let at = -1;
    let layers = {};

    function kind(i) {
      if (i < data.n_ours) return `selected, place ${data.order[i].toLocaleString("en")}`;
      const k = i - data.n_ours;
      if (!data.covered_by.length) return "not selected";
      return `not selected, most like place ${data.covered_by[k].toLocaleString("en")} (cosine ${data.cosines[k].toFixed(2)})`;
    }

    function showRecord(i) {
      const box = byId("record");
      box.replaceChildren(
        element("p", `${kind(i)} · cluster ${data.clusters[i]} · ${data.ids[i]}`, {class: "note"}),
        element("p", data.own[i], {class: "note", dir: "auto"}),
        element("div", data.texts[i], {class: "text", dir: "auto"}),
      );
    }

    function tip(i) {
      const box = element("div", undefined, {class: "tip"});
      box.style.cssText = TIP;
      const head = element("div", `${kind(i)} · cluster ${data.clusters[i]}`);
      head.style.color = "var(--muted)";
      const own = element("div", data.own[i], {dir: "auto"});
      own.style.color = "var(--muted)";
      box.append(head, element("div", data.texts[i], {dir: "auto"}), own);
      return box;
    }

    function source(from, to) {
      const clusters = data.clusters.slice(from, to);
      return new Bokeh.ColumnDataSource({data: {
        x: data.x.slice(from, to), y: data.y.slice(from, to), place: clusters.map((_, i) => from + i),
        colour: clusters.map((cluster) => data.colours[cluster]),
      }});
    }

    function step(by) {
      if (!data.n_ours) return;
      at = (at + by + data.n_ours) % data.n_ours;
      focus(at);
    }

    function focus(i) {
      layers.focus.data = {x: [data.x[i]], y: [data.y[i]]};
      showRecord(i);
    }

    function mark() {
      const other = data.others[compare.value];
      const places = other ? other.places : [];
      layers.other.data = {x: places.map((i) => data.x[i]), y: places.map((i) => data.y[i])};
    }

    function draw() {
      const margin = GRID * 0.03;
      const span = [-margin, GRID + margin];
      const height = Math.max(300, Math.min(640, Math.round(place.clientWidth * 0.72)));
      const drawn = figure(height, {
        tools: "pan,wheel_zoom,box_zoom,reset,save", match_aspect: true, x_range: span, y_range: span,
      });
      for (const axis of drawn.axes) axis.visible = false;
      for (const grid of drawn.grids) grid.visible = false;
      const ink = style("--ink");
      const pool = source(data.n_ours, data.n_shown);
      const ours = source(0, data.n_ours);
      layers = {
        other: new Bokeh.ColumnDataSource({data: {x: [], y: []}}),
        focus: new Bokeh.ColumnDataSource({data: {x: [], y: []}}),
      };
      const x = {field: "x"}, y = {field: "y"};
      const scale = place.clientWidth < 500 ? 0.7 : 1;
      const crowd = scale * (data.n_shown > 1500 ? 4.5 : 7);
      const many = Math.log10(Math.max(1, data.n_ours / 60));
      const chosen = scale * (12 - 3.3 * many);
      const glyphs = [
        drawn.scatter({x, y, source: pool, size: crowd, color: {field: "colour"}, fill_alpha: 0.55, line_color: null}),
        drawn.scatter({x, y, source: ours, size: chosen, fill_color: {field: "colour"}, line_color: ink, line_width: 1.7 - 0.5 * many}),
      ];
      drawn.scatter({x, y, source: layers.other, size: 11, marker: "diamond", fill_color: null, line_color: style("--bad"), line_width: 2});
      drawn.scatter({x, y, source: layers.focus, size: 24, fill_color: null, line_color: style("--accent"), line_width: 3});
      const pick = (from, i) => from.get_array("place")[i];
      drawn.add_tools(
        new Bokeh.HoverTool({
          renderers: glyphs, limit: 1, attachment: "horizontal",
          tooltips: touch.matches ? null : (from, vars) => tip(pick(from, vars.index)),
        }),
        new Bokeh.TapTool({renderers: glyphs, behavior: "inspect"}),
      );
      for (const from of [pool, ours]) {
        from.inspect.connect(() => {
          const [i] = from.inspected.indices;
          if (i !== undefined) focus(pick(from, i));
        });
      }
      mark();
      if (at >= 0) focus(at);
      return show(drawn, place);
    }

    compare.addEventListener("change", mark);
    byId("next").addEventListener("click", () => step(1));
    byId("previous").addEventListener("click", () => step(at < 0 ? 0 : -1));
    return draw;
  }

  // The judge scores and gains of the selected records.
  function scores(data, map) {
    const place = byId("scores");
    const LEAST = 1e-7; // a logarithmic axis has no 0
    const shown = new Map(map.order.map((at, i) => [at, i]));

    function draw() {
      const height = Math.max(350, Math.min(400, Math.round(place.clientWidth * 0.45)));
      const plot = figure(height, {
        tools: "pan,wheel_zoom,box_zoom,reset,save", x_axis_type: "log",
        x_axis_label: "gain in mean coverage", y_axis_label: "judge score",
      });
      const x = data.gains.map((gain) => Math.max(gain, LEAST));
      const y = data.scores.map((score, i) => score + 0.09 * ((i * 0.618034) % 1 - 0.5));
      const source = new Bokeh.ColumnDataSource({data: {x, y}});
      const glyph = plot.scatter({
        x: {field: "x"}, y: {field: "y"}, source, size: x.length > 500 ? 5 : 8,
        fill_color: style("--accent"), fill_alpha: 0.55, line_color: null,
      });
      plot.add_tools(new Bokeh.HoverTool({
        renderers: [glyph], limit: 1, attachment: "horizontal",
        tooltips: (_, {index}) => {
          const box = element("div", undefined, {class: "score-tip", style: TIP});
          const head = `place ${(index + 1).toLocaleString("en")} · judge score ${data.scores[index]} · gain ${data.gains[index]}`;
          box.append(element("div", head));
          const i = shown.get(index + 1);
          if (i !== undefined) box.append(element("div", map.texts[i], {dir: "auto"}));
          return box;
        },
      }));
      return show(plot, place);
    }

    return draw;
  }

  // The curves.
  function curves(data) {
    const place = byId("lines");
    const metric = byId("metric");
    const switches = byId("shown");
    let drawn = [];
    const isOurs = (method) => method < data.n_ours;
    const lineColour = (method) => isOurs(method) ? OURS : LINES[(method - data.n_ours) % LINES.length];

    data.methods.forEach((name, i) => {
      const box = element("input", undefined, {type: "checkbox", value: String(i)});
      box.checked = i < data.n_drawn;
      const key = element("i");
      key.style.background = lineColour(i);
      const label = element("label");
      label.append(box, key, element("span", name));
      switches.append(label);
      box.addEventListener("change", toggle);
    });
    const boxes = [...switches.querySelectorAll("input")];

    function toggle() {
      for (const {method, glyphs} of drawn) for (const glyph of glyphs) glyph.visible = boxes[method].checked;
    }

    function draw() {
      const {better, curves: lines} = data.metrics[metric.value || 0];
      const height = Math.max(300, Math.min(460, Math.round(place.clientWidth * 0.55)));
      const plot = figure(height, {
        tools: "pan,box_zoom,reset,save", x_axis_label: "records selected",
      });
      byId("direction").textContent = better;
      plot.y_range.only_visible = true;
      plot.xaxis.each((axis) => { axis.formatter = new Bokeh.NumeralTickFormatter({format: "0,0"}); });
      drawn = [];
      lines.forEach((curve, method) => {
        const known = curve.map((point, i) => point && [data.sizes[i], ...point]).filter(Boolean);
        if (!known.length) return;
        const [x, value, low, high] = [0, 1, 2, 3].map((k) => known.map((point) => point[k]));
        const color = lineColour(method);
        const width = isOurs(method) ? 3.5 : 2;
        drawn.push({method, glyphs: [
          plot.varea({x, y1: low, y2: high, fill_color: color, fill_alpha: 0.13}),
          plot.line({x, y: value, line_color: color, line_width: width}),
          plot.scatter({x, y: value, size: width + 4, color, name: data.methods[method]}),
        ]});
      });
      plot.add_tools(new Bokeh.HoverTool({
        renderers: drawn.map(({glyphs}) => glyphs[2]),
        tooltips: (from, {index, x, y, name}) => {
          const [size, value] = [from.get_array("x")[index], from.get_array("y")[index]];
          const words = `${name} at ${size.toLocaleString("en")}: ${Number(value.toPrecision(4))}`;
          return element("div", words, {style: TIP});
        },
      }));
      toggle();
      return show(plot, place);
    }

    metric.addEventListener("change", draw);
    return draw;
  }

  async function start() {
    const map = read("map-data");
    const drawings = [embeddingMap(map)];
    if (map.n_ours) drawings.push(scores(read("choice-data"), map));
    const curvesData = read("curves-data");
    if (curvesData) drawings.push(curves(curvesData));
    const all = () => Promise.all(drawings.map((draw) => draw()));
    await all();
    dark.addEventListener("change", all);
    document.documentElement.dataset.drawn = "yes";
  }

  start();
})();
