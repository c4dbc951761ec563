"use strict";
(() => {
  const given = JSON.parse(document.getElementById("data").textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  const frame = new Int32Array(bytes(given.frame));
  const filled = new Uint8Array(bytes(given.filled));
  const numbers = Object.fromEntries(["x", "y", "speed", "confidence"].map((name) => [name, new Float32Array(bytes(given[name]))]));
  const count = frame.length;
  const seen = (place) => !Number.isNaN(numbers.x[place]);

  const lanes = document.getElementById("lanes");
  const path = document.getElementById("path");
  const readout = document.getElementById("readout");
  const LANES = [
    { name: "x", unit: "px", low: 0, high: given.width, tall: 110 },
    { name: "y", unit: "px", low: 0, high: given.height, tall: 110, downward: true },
    { name: "speed", unit: "px/s", low: 0, high: quantile(numbers.speed, 0.995) || 1, tall: 80 },
    { name: "confidence", unit: "", low: 0, high: 1, tall: 60 },
  ];
  const LEFT = 64, TOP = 14, BETWEEN = 22;

  let from = 0, to = Math.max(1, count - 1), chosen = firstSeen();
  let due = false;

  function quantile(values, share) {
    const sorted = values.filter((value) => !Number.isNaN(value)).sort();
    return sorted.length ? sorted[Math.floor((sorted.length - 1) * share)] : 0;
  }

  function firstSeen() {
    for (let place = 0; place < count; place++) if (seen(place)) return place;
    return 0;
  }

  const canvas = document.createElement("canvas");
  canvas.setAttribute("aria-hidden", "true");
  lanes.append(canvas);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);

  /** The custom properties are pairs of light and dark; only a used property is one colour. */
  function palette() {
    const wanted = ["ink", "soft", "line", "seen", "filled", "gap", "accent", "well"];
    return Object.fromEntries(wanted.map((name) => {
      probe.style.setProperty("color", `var(--${name})`);
      return [name, getComputedStyle(probe).color];
    }));
  }

  function sized(element, width, height) {
    const scale = window.devicePixelRatio || 1;
    element.width = Math.round(width * scale);
    element.height = Math.round(height * scale);
    element.style.setProperty("height", `${height}px`);
    const pen = element.getContext("2d");
    pen.scale(scale, scale);
    return pen;
  }

  function draw() {
    due = false;
    if (!count) return;
    const colours = palette();
    drawLanes(colours);
    drawPath(colours);
    tell();
  }

  function soon() {
    if (!due) { due = true; requestAnimationFrame(draw); }
  }

  const across = (place, width) => LEFT + (place - from) / (to - from) * (width - LEFT - 12);

  function drawLanes(colours) {
    const width = lanes.clientWidth;
    const height = TOP + LANES.reduce((sum, lane) => sum + lane.tall + BETWEEN, 0) + 8;
    const pen = sized(canvas, width, height);
    pen.font = "12px system-ui, sans-serif";
    shadeGaps(pen, colours, width, height);
    let top = TOP;
    for (const lane of LANES) {
      drawFrameOf(pen, colours, lane, top, width);
      drawCurve(pen, colours, lane, top, width);
      top += lane.tall + BETWEEN;
    }
    drawTimes(pen, colours, width, height);
    const x = across(chosen, width);
    pen.strokeStyle = colours.accent;
    pen.lineWidth = 1.5;
    pen.beginPath(); pen.moveTo(x, TOP - 6); pen.lineTo(x, height - 22); pen.stroke();
  }

  function shadeGaps(pen, colours, width, height) {
    pen.fillStyle = colours.gap;
    for (let place = Math.floor(from); place <= to; place++) {
      if (place >= count || seen(place)) continue;
      let end = place;
      while (end + 1 < count && end + 1 <= to && !seen(end + 1)) end++;
      const x = across(place - 0.5, width);
      pen.fillRect(Math.max(x, LEFT), TOP - 6, Math.max(1, across(end + 0.5, width) - Math.max(x, LEFT)), height - TOP - 18);
      place = end;
    }
  }

  function drawFrameOf(pen, colours, lane, top, width) {
    pen.strokeStyle = colours.line;
    pen.lineWidth = 1;
    pen.beginPath(); pen.moveTo(LEFT, top + lane.tall + 0.5); pen.lineTo(width - 12, top + lane.tall + 0.5); pen.stroke();
    pen.fillStyle = colours.soft;
    pen.textAlign = "right";
    const [lowest, highest] = lane.downward ? [lane.high, lane.low] : [lane.low, lane.high];
    pen.fillText(shown(highest), LEFT - 8, top + 10);
    pen.fillText(shown(lowest), LEFT - 8, top + lane.tall);
    pen.fillStyle = colours.ink;
    pen.fillText(lane.name === "confidence" ? "sure" : lane.name, LEFT - 8, top + lane.tall / 2 + 4);
  }

  const shown = (value) => (value >= 1000 ? `${(value / 1000).toFixed(1)}k` : value.toFixed(0));

  function drawCurve(pen, colours, lane, top, width) {
    const values = numbers[lane.name];
    const down = (value) => {
      const share = Math.min(1, Math.max(0, (value - lane.low) / (lane.high - lane.low)));
      return top + lane.tall * (lane.downward ? share : 1 - share);
    };
    const first = Math.max(0, Math.floor(from)), last = Math.min(count - 1, Math.ceil(to));
    for (const kind of [0, 1]) {
      pen.strokeStyle = pen.fillStyle = kind ? colours.filled : colours.seen;
      pen.lineWidth = 1.6;
      pen.beginPath();
      let open = false;
      for (let place = first; place <= last; place++) {
        const there = !Number.isNaN(values[place]) && seen(place);
        const mine = there && (filled[place] === kind || (place > first && filled[place - 1] === kind));
        if (!mine) { open = false; continue; }
        const x = across(place, width), y = down(values[place]);
        if (open) pen.lineTo(x, y);
        else { pen.moveTo(x, y); pen.rect(x - 0.8, y - 0.8, 1.6, 1.6); pen.moveTo(x, y); }
        open = true;
      }
      pen.stroke();
    }
  }

  function drawTimes(pen, colours, width, height) {
    pen.fillStyle = colours.soft;
    pen.textAlign = "center";
    const seconds = (to - from) / given.fps;
    const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600].find((size) => seconds / size <= width / 90) || 7200;
    for (let time = Math.ceil(from / given.fps / step) * step; time * given.fps <= to; time += step) {
      pen.fillText(clock(time, step < 1 ? 1 : 0), across(time * given.fps, width), height - 6);
    }
  }

  const clock = (seconds, digits) => `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0")}`;

  function drawPath(colours) {
    const box = path.parentElement.clientWidth;
    const width = Math.min(box, window.innerHeight * 0.6 * given.width / given.height);
    const pen = sized(path, width, width * given.height / given.width);
    path.style.setProperty("width", `${width}px`);
    const scale = width / given.width;
    const reach = Math.round(given.fps * 1.5);
    for (let place = Math.max(1, chosen - reach); place <= Math.min(count - 1, chosen + reach); place++) {
      if (!seen(place) || !seen(place - 1)) continue;
      pen.globalAlpha = place <= chosen ? 1 - 0.85 * (chosen - place) / reach : 0.15;
      pen.strokeStyle = filled[place] ? colours.filled : colours.seen;
      pen.lineWidth = place <= chosen ? 3 : 2;
      pen.lineCap = "round";
      pen.beginPath();
      pen.moveTo(numbers.x[place - 1] * scale, numbers.y[place - 1] * scale);
      pen.lineTo(numbers.x[place] * scale, numbers.y[place] * scale);
      pen.stroke();
    }
    pen.globalAlpha = 1;
    if (!seen(chosen)) return;
    pen.strokeStyle = colours.ink;
    pen.fillStyle = filled[chosen] ? colours.filled : colours.seen;
    pen.lineWidth = 1.5;
    pen.beginPath(); pen.arc(numbers.x[chosen] * scale, numbers.y[chosen] * scale, 6, 0, 7); pen.fill(); pen.stroke();
  }

  function tell() {
    const when = `frame ${frame[chosen]}, ${clock(frame[chosen] / given.fps, 2)}`;
    const speed = Number.isNaN(numbers.speed[chosen]) ? "" : `, ${numbers.speed[chosen].toFixed(0)} px/s`;
    const where = `x ${numbers.x[chosen].toFixed(0)}, y ${numbers.y[chosen].toFixed(0)}${speed}, ` +
      (filled[chosen] ? "filled in" : `sure to ${(100 * numbers.confidence[chosen]).toFixed(0)} %`);
    const text = seen(chosen) ? `${when}: ${where}` : `${when}: no ball`;
    readout.textContent = text;
    lanes.setAttribute("aria-valuemax", frame[count - 1]);
    lanes.setAttribute("aria-valuemin", frame[0]);
    lanes.setAttribute("aria-valuenow", frame[chosen]);
    lanes.setAttribute("aria-valuetext", text);
  }

  function choose(place) {
    chosen = Math.min(count - 1, Math.max(0, Math.round(place)));
    const span = to - from;
    if (chosen < from) { from = chosen; to = from + span; }
    if (chosen > to) { to = chosen; from = to - span; }
    soon();
  }

  function zoom(factor, around) {
    const whole = Math.max(1, count - 1);
    const span = Math.min(whole, Math.max(Math.min(8, whole), (to - from) * factor));
    const share = (around - from) / (to - from);
    from = Math.min(whole - span, Math.max(0, around - share * span));
    to = from + span;
    soon();
  }

  const placeAt = (event) => {
    const box = lanes.getBoundingClientRect();
    return from + (event.clientX - box.left - LEFT) / (box.width - LEFT - 12) * (to - from);
  };

  lanes.addEventListener("pointerdown", (event) => { lanes.setPointerCapture(event.pointerId); choose(placeAt(event)); });
  lanes.addEventListener("pointermove", (event) => { if (event.buttons || event.pointerType === "mouse") choose(placeAt(event)); });
  lanes.addEventListener("wheel", (event) => { event.preventDefault(); zoom(event.deltaY > 0 ? 1.25 : 0.8, placeAt(event)); }, { passive: false });
  lanes.addEventListener("keydown", (event) => {
    const second = Math.max(1, Math.round(given.fps));
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -second, PageUp: second, Home: -count, End: count };
    if (event.key in steps) choose(chosen + steps[event.key]);
    else if (event.key === "+" || event.key === "=") zoom(0.8, chosen);
    else if (event.key === "-") zoom(1.25, chosen);
    else return;
    event.preventDefault();
  });
  document.getElementById("out").addEventListener("click", () => { from = 0; to = Math.max(1, count - 1); soon(); });
  for (const button of document.querySelectorAll(".go")) {
    button.addEventListener("click", () => {
      const place = frame.indexOf(Number(button.dataset.frame));
      zoom(0.0001, place);
      zoom(Math.max(1, given.fps * 3 / (to - from)), place);
      choose(place);
      lanes.focus();
    });
  }

  const theme = document.getElementById("theme");
  const dark = () => (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const tellTheme = () => theme.setAttribute("aria-pressed", dark());
  theme.addEventListener("click", () => { document.documentElement.dataset.theme = dark() ? "light" : "dark"; tellTheme(); soon(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { tellTheme(); soon(); });
  new ResizeObserver(soon).observe(lanes);
  tellTheme();
  soon();
})();
