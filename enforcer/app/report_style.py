"""The style of a report's page: readable on paper and in black and white, and no more than that."""

from __future__ import annotations

from typing import Final

CSS: Final = """
:root { color-scheme: light; --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 62rem; color: var(--ink); background: #fff;
  font: 1rem/1.5 system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.35rem; margin: 2.5rem 0 .5rem; border-bottom: 2px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.75rem 0 .25rem; }
p { margin: .25rem 0 .75rem; max-width: 46rem; }
a { color: #0a4a86; }
.skip { position: absolute; left: -999rem; }
.skip:focus { left: 1rem; }
.soft, .rule { color: var(--soft); font-size: .9rem; }
.warning { border: 2px solid #8a5a00; background: #fff8e5; padding: .5rem .75rem; }
.tag { border: 1px solid var(--line); border-radius: 1rem; padding: 0 .5rem; font-size: .8rem;
  font-weight: normal; color: var(--soft); }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem;
  margin: 1rem 0; }
dl.facts dt { color: var(--soft); }
dl.facts dd { margin: 0; overflow-wrap: anywhere; }
dl.short { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0; }
dl.short div { border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .9rem;
  display: flex; flex-direction: column-reverse; min-width: 8rem; }
dl.short dt { color: var(--soft); font-size: .9rem; }
dl.short dd { margin: 0; font-size: 1.6rem; font-variant-numeric: tabular-nums; }
nav ul { columns: 2; padding-left: 1.2rem; }
.tables { display: flex; flex-wrap: wrap; gap: 0 2.5rem; }
.scroll { overflow-x: auto; margin: 0 0 1rem; max-width: 100%; }
table { border-collapse: collapse; font-size: .95rem; }
caption { text-align: left; font-weight: 600; padding: .4rem 0; }
th, td { text-align: left; vertical-align: top; padding: .2rem .9rem .2rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th[scope=row] { font-weight: normal; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums;
  overflow-wrap: normal; white-space: nowrap; }
tr.total > * { font-weight: 600; }
svg { display: block; max-width: 100%; }
svg.bar { margin-top: .35rem; }
svg text { font-family: inherit; }
@media print {
  :root { font-size: 8pt; }
  body { max-width: none; padding: 0; }
  nav, .skip { display: none; }
  h2, h3, caption { break-after: avoid; }
  tr, svg, dl.short div { break-inside: avoid; }
  thead { display: table-header-group; }
  svg rect { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  a { color: inherit; text-decoration: none; }
}
"""
