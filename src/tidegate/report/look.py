"""The page's style sheet: AWS has one hue, Azure another, errors are red; the rest is ink on paper."""

__all__ = ["SHEET"]

SHEET = """
:root {
  --paper: #fff; --ink: #1b1f24; --soft: #626b76; --rule: #e3e6ea; --wash: #f6f7f9;
  --aws: #d97b16; --aws-area: #f5c384; --azure: #2566cf; --azure-area: #6d9eea;
  --red: #c62f2f; --red-wash: #fbe9e8; --green: #22794a; --green-wash: #e5f4eb; --held: #1b1f2426;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #14171b; --ink: #e6e9ed; --soft: #98a2ae; --rule: #2c3239; --wash: #1c2026;
    --aws: #e09a4a; --aws-area: #98661f; --azure: #6ba1f2; --azure-area: #2c5ca6;
    --red: #f2706b; --red-wash: #3a2022; --green: #5fc58d; --green-wash: #1a3226; --held: #e6e9ed33;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Inter, Roboto, "Helvetica Neue", sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere;
}
main { max-width: 1020px; margin: 0 auto; padding: 40px 28px 72px; }
section { margin: 0 0 44px; }
h1 { font-size: 34px; line-height: 1.15; letter-spacing: -0.02em; margin: 0 0 18px; font-weight: 650; }
h1 span { color: var(--soft); font-weight: 400; }
h2 { font-size: 19px; letter-spacing: -0.01em; margin: 0 0 12px; font-weight: 640; }
h3 { font-size: 15px; margin: 22px 0 4px; font-weight: 640; }
p { margin: 0 0 10px; max-width: 86ch; }
small { display: block; color: var(--soft); font-size: 12.5px; line-height: 1.4; }
code { font: 12.5px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.soft { color: var(--soft); }
.wrong { color: var(--red); }
.over { color: var(--soft); margin-bottom: 6px; font-size: 13px; }
.outcome { font-size: 19px; line-height: 1.4; margin-bottom: 4px; }
.why { margin-bottom: 14px; }
.place {
  color: var(--soft); font-size: 14px; border-left: 3px solid var(--rule);
  padding: 1px 0 1px 12px; margin: 14px 0 0;
}
.place.production { color: var(--ink); border-color: var(--ink); font-weight: 600; }
dl { display: flex; flex-wrap: wrap; gap: 10px 34px; margin: 20px 0 0; }
dt { color: var(--soft); font-size: 12.5px; }
dd { margin: 0; }
.pill {
  display: inline-block; font-size: 12.5px; line-height: 20px; font-weight: 600; padding: 0 9px; border-radius: 11px;
  white-space: nowrap; background: var(--wash); color: var(--soft); box-shadow: inset 0 0 0 1px var(--rule);
}
.outcome .pill {
  font-size: 14px; line-height: 24px; padding: 0 12px;
  border-radius: 13px; vertical-align: 1px; margin-right: 4px;
}
.pill.good { background: var(--green-wash); color: var(--green); box-shadow: none; }
.pill.bad { background: var(--red-wash); color: var(--red); box-shadow: none; }
.pill.back { background: none; color: var(--ink); box-shadow: inset 0 0 0 1.5px var(--aws); }
.tiles {
  display: flex; flex-wrap: wrap; gap: 18px 34px; margin-top: 24px;
  padding-top: 20px; border-top: 1px solid var(--rule);
}
.tiles div { max-width: 150px; }
.tiles b { display: block; font-size: 23px; line-height: 1.25; font-weight: 620; letter-spacing: -0.01em; }
.tiles span { color: var(--soft); font-size: 12.5px; line-height: 1.35; display: block; }
table { width: 100%; border-collapse: collapse; }
th {
  text-align: left; font-size: 12.5px; font-weight: 500;
  color: var(--soft); padding: 0 14px 5px 0; border-bottom: 1px solid var(--rule);
}
td { vertical-align: top; padding: 7px 14px 7px 0; border-bottom: 1px solid var(--rule); }
th:last-child, td:last-child { padding-right: 0; }
.number { white-space: nowrap; }
td[data-label="Who"] { min-width: 5.6em; }
td[data-label="Phase"] { min-width: 7.2em; }
.compact td[data-label="Stage"] { min-width: 6.4em; }
td:not([data-label]):not([colspan]) { width: 30px; }
td.number:first-child { color: var(--soft); }
.verdict { display: inline-block; width: 1.5em; font-weight: 700; text-align: left; }
.verdict.pass { color: var(--green); }
.verdict.fail { color: var(--red); }
.verdict.inconclusive { color: var(--soft); }
.finding { display: flex; }
.finding .verdict { flex: none; }
.finding + .finding, small + .finding { margin-top: 2px; }
.finding + small { margin-top: 8px; }
.no-return { color: var(--red); font-weight: 600; margin: 12px 0 2px; }
tr.span td { border-bottom: 2px solid var(--red); }
.scroll { overflow-x: auto; margin: 0 0 10px; }
.chart { display: block; width: 100%; min-width: 760px; height: auto; font-size: 11.5px; fill: var(--ink); }
.chart .head { font-weight: 600; }
.chart .soft, .chart .tick { fill: var(--soft); }
.chart .end { text-anchor: end; }
.chart .middle { text-anchor: middle; }
.grid { stroke: var(--rule); stroke-width: 1; }
.grid.faint { opacity: 0.6; }
.aws-area { fill: var(--aws-area); }
.azure-area { fill: var(--azure-area); }
.lag-area { fill: var(--rule); }
.ink-line { fill: none; stroke: var(--ink); stroke-width: 1.2; stroke-linejoin: round; }
.ink-line.thin { stroke: var(--soft); stroke-width: 1; }
.error-bar { fill: var(--red); }
.slow-bar { fill: var(--soft); opacity: 0.55; }
.hold { fill: var(--held); }
.band { fill: var(--wash); stroke: var(--rule); stroke-width: 0.6; }
.band.odd { fill: var(--rule); }
.band.back { fill: var(--aws-area); }
.band-label { font-size: 11px; }
.sign circle { fill: var(--ink); }
.sign.command circle { fill: var(--soft); }
.sign.fault circle, .sign.alarm circle { fill: var(--red); }
.sign.aws circle { fill: var(--aws); }
.sign.azure circle { fill: var(--azure); }
.sign-number { fill: var(--paper); font-size: 10px; font-weight: 700; }
.sign-line { stroke: var(--ink); stroke-width: 0.8; stroke-dasharray: 2 3; opacity: 0.7; }
.fault .sign-line, .alarm .sign-line { stroke: var(--red); }
.aws-phase { fill: var(--aws-area); }
.azure-phase { fill: var(--azure-area); }
.outside { fill: var(--wash); stroke: var(--rule); }
.commit { stroke: var(--ink); stroke-width: 1.6; }
polyline.span { fill: none; stroke: var(--soft); }
.legend { color: var(--soft); font-size: 13px; }
.swatch {
  display: inline-block; width: 11px; height: 11px;
  border-radius: 2px; margin: 0 6px 0 16px; vertical-align: -1px;
}
.swatch:first-child { margin-left: 0; }
.swatch.aws { background: var(--aws-area); }
.swatch.azure { background: var(--azure-area); }
.swatch.error { background: var(--red); }
.swatch.held { background: var(--held); }
.key { list-style: none; margin: 12px 0 8px; padding: 0; columns: 2; column-gap: 36px; font-size: 13.5px; }
.key li { display: flex; gap: 9px; break-inside: avoid; padding: 2px 0; }
.key time { flex: none; color: var(--soft); min-width: 3.2em; }
.disc {
  flex: none; width: 18px; height: 18px; border-radius: 9px; text-align: center; margin-top: 1px;
  font: 700 10.5px/18px system-ui, sans-serif; background: var(--ink); color: var(--paper);
}
.disc.command { background: var(--soft); }
.disc.fault, .disc.alarm { background: var(--red); }
.disc.aws { background: var(--aws); }
.disc.azure { background: var(--azure); }
ul { margin: 0; padding-left: 1.2em; max-width: 76ch; }
li { margin-bottom: 4px; }
.digest { padding: 9px 12px; background: var(--wash); border-radius: 6px; max-width: none; }
summary { cursor: pointer; margin-bottom: 10px; }
.log td { font-size: 13px; padding-top: 4px; padding-bottom: 4px; }
.count { color: var(--soft); font-weight: 400; margin-left: 8px; }
.count.wrong { color: var(--red); }
@media (min-width: 641px) {
  .log td:nth-child(5) { width: 46%; }
  .plan td:first-child, .plan td:nth-child(4) { width: 24%; }
  .plan td:nth-child(2) { width: 22%; }
}
@media (max-width: 640px) {
  main { padding: 24px 16px 48px; }
  h1 { font-size: 27px; }
  h1 span { display: block; }
  .outcome { font-size: 17px; }
  dl { gap: 8px 24px; }
  .tiles { display: grid; grid-template-columns: 1fr 1fr; gap: 16px; }
  .key { columns: 1; }
  td, th { padding-right: 10px; }
  .phases :is(th, td):nth-child(4) { display: none; }
  .cards thead, .cards td:empty { display: none; }
  .cards, .cards tbody, .cards tr, .cards td { display: block; width: auto; }
  .cards tr { border-bottom: 1px solid var(--rule); padding: 8px 0; }
  .cards td, .cards tr.span td { border: 0; padding: 1px 0; }
  .cards td[data-label]::before { content: attr(data-label) " "; color: var(--soft); font-size: 12.5px; }
  .cards td[data-label="Stage"]::before { content: ""; }
  .cards td:not([data-label]):not([colspan]) { float: left; margin-right: 8px; }
}
@media print {
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  tr, .tiles, .chart, .key li { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  .chart { min-width: 0; }
  .scroll { overflow: visible; }
}
"""
