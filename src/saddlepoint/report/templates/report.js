// Draws the plots, and themes them; the page is complete without it.
"use strict";
{
  const root = document.documentElement;
  const plots = JSON.parse(document.getElementById("plots").textContent);
  const figures = [...document.querySelectorAll(".curve")];
  const probe = document.body.appendChild(document.createElement("span"));
  probe.hidden = true;

  const color = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };

  const steps = (trace, shown) => {
    const own = color(`s${trace.series % 6}`), share = (held) => (100 * held) / trace.rows;
    const [at, standing, distance, counted] = trace.median ?? [];
    const median = `${trace.head}<br>median ${distance}<br>of ${counted} rows right when clean`;
    const common = { type: "scatter", hoverinfo: "text", visible: shown, cliponaxis: true, showlegend: false };
    const found = [{
      ...common, mode: "lines", x: trace.x, y: trace.held.map(share),
      line: { color: own, shape: "hv", dash: trace.dash, width: trace.worst ? 2.25 : 1.5 },
      text: trace.x.map((x, i) => x === at ? median : `${trace.head}<br>${share(trace.held[i]).toFixed(1)} % ${trace.word} ${x}<br>${trace.held[i]} of ${trace.rows} rows`),
    }];
    if (trace.median) {
      found.push({
        ...common, mode: "markers", x: [at], y: [share(standing)], text: [median],
        marker: { color: own, symbol: trace.symbol, size: trace.worst ? 11 : 9, line: { color: own, width: 1.75 } },
      });
    }
    return found;
  };

  const line = (trace, shown) => {
    if (trace.kind === "steps") return steps(trace, shown);
    const own = color(`s${trace.series % 6}`);
    return [{
      type: "scatter", mode: "lines+markers", x: trace.x, y: trace.y, text: trace.text, hoverinfo: "text",
      visible: shown, cliponaxis: false, showlegend: false,
      line: { color: own, dash: "dot", width: trace.worst ? 2 : 1.25 },
      marker: { color: own, symbol: trace.symbol, size: trace.worst ? 9 : 8, line: { color: own, width: 1.5 } },
      error_y: { type: "data", symmetric: false, array: trace.up, arrayminus: trace.down, color: own, thickness: 1.25, width: 4 },
    }];
  };

  const layout = (plot) => {
    const axis = { color: color("soft"), gridcolor: color("line"), linecolor: color("rule"), zeroline: false, ticks: "" };
    const font = { family: getComputedStyle(root).getPropertyValue("--sans"), size: 12.5, color: color("soft") };
    const end = plot.log ? Math.log10(plot.widest) : plot.widest, edge = 0.03 * end;
    const value = (share) => (plot.log ? plot.widest ** (share / 100) : (share * plot.widest) / 100);
    return {
      font, margin: { t: 12, r: 16, b: 44, l: 46 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      hovermode: "closest", hoverdistance: 24, uirevision: "kept",
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom", // on a phone, a finger scrolls the page
      hoverlabel: { bgcolor: color("card"), bordercolor: color("rule"), font: { ...font, color: color("ink") }, align: "left" },
      xaxis: {
        ...axis, type: plot.log ? "log" : "linear", range: [-edge, end + edge], showgrid: false, showline: true, title: { text: plot.axis, standoff: 8, font },
        tickvals: plot.ticks.map(([share]) => value(share)), ticktext: plot.ticks.map(([, text]) => text),
      },
      yaxis: { ...axis, range: [-3, 103], tickvals: [0, 25, 50, 75, 100], ticktext: ["0", "25", "50", "75", "100 %"] },
    };
  };

  const draw = () =>
    figures.forEach((figure, place) => {
      const keys = [...figure.querySelectorAll("[data-line]")];
      const shown = (line) => keys.find((key) => Number(key.dataset.line) === line).ariaPressed === "true";
      const traces = plots[place].traces.flatMap((trace, i) => line(trace, shown(i)));
      const options = { displayModeBar: false, responsive: true, showTips: false };
      Plotly.react(figure.querySelector(".canvas"), traces, layout(plots[place]), options);
    });

  const themes = ["auto", "light", "dark"];
  const switcher = document.querySelector(".theme");
  switcher.addEventListener("click", () => {
    const next = themes[(themes.indexOf(root.dataset.theme ?? "auto") + 1) % themes.length];
    root.dataset.theme = next;
    switcher.querySelector("span").textContent = next;
    draw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  for (const key of document.querySelectorAll("[data-line]")) {
    key.addEventListener("click", () => {
      key.ariaPressed = key.ariaPressed === "true" ? "false" : "true";
      draw();
    });
  }

  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", async () => {
      const text = button.parentElement.querySelector("pre");
      try {
        await navigator.clipboard.writeText(text.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(text); // not allowed to copy: at least it is selected
      }
    });
  }

  root.classList.add("live");
  try {
    draw();
  } catch (error) {
    root.classList.remove("live"); // the plain chart stands in
    throw error;
  }
}
