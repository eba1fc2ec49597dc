"""How the page of a dataset's check looks on screens, narrow ones and paper: CSS after that of all pages."""

STYLE = """
:root { --good: #1a7037; --bad: #b3202a; --unsure: #835400; --bar: #14509f; --tint: #f2f4f7; }
@media (prefers-color-scheme: dark) {
  :root { --good: #63cf86; --bad: #ff8f86; --unsure: #e5b75b; --bar: #8bb2fb; --tint: #1e242d; }
}
h1 { margin: 0 0 .5rem; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1rem; margin: .9rem 0 .2rem; }
p, ul { margin: .35rem 0; max-width: 48rem; } ul { padding-left: 1.25rem; } li { margin: .2rem 0; }
p, li, dd, figcaption { overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .1rem 1rem; margin: .75rem 0; }
dt { color: var(--quiet); } dd { margin: 0; }
nav { margin: 1rem 0; } nav a { color: inherit; margin-right: 1rem; display: inline-block; }
.good { --tone: var(--good); } .bad { --tone: var(--bad); } .unsure { --tone: var(--unsure); }
.good, .bad, .unsure { color: var(--tone); font-weight: 600; }
#verdict { border-left: .4rem solid var(--tone); background: var(--tint); padding: .75rem 1rem; color: var(--text);
  font-weight: 400; }
#verdict > p:first-child { font-size: 1.15rem; font-weight: 600; color: var(--tone); margin: 0; }
#verdict .option { white-space: nowrap; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
code { white-space: nowrap; } caption { text-align: left; padding-bottom: .5rem; }
th { font-weight: 600; text-align: left; }
.list { width: 100%; } .short { max-width: 40rem; }
.list th, .list td { padding: .4rem .75rem .4rem 0; border-bottom: 1px solid var(--line);
  vertical-align: middle; }
.list thead th { color: var(--quiet); font-weight: 400; vertical-align: bottom; }
.list tbody th { overflow-wrap: anywhere; max-width: 16rem; }
.bar { display: flex; align-items: center; gap: .6rem; } .bar > b { font-weight: inherit; min-width: 3rem; }
.track { position: relative; flex: 1; min-width: 5rem; max-width: 18rem; height: .9rem; background: var(--tint); }
.track i { position: absolute; top: 0; bottom: 0; background: var(--bar); }
.track u { position: absolute; top: -.15rem; bottom: -.15rem; width: 1px; background: var(--text); }
img { display: block; outline: 1px solid var(--line); } .pixels { image-rendering: pixelated; }
.map { width: 8rem; max-width: 100%; max-height: 12rem; object-fit: contain; } .many .map { width: 5.5rem; }
.ramp { width: 12rem; height: 1rem; outline: none; }
.scale { display: inline-grid; grid-template-columns: repeat(3, 4rem); font-size: .85rem; }
.scale img { grid-column: 1 / -1; } .scale span:nth-of-type(2) { text-align: center; }
.scale span:nth-of-type(3) { text-align: right; }
.matrix td { min-width: 2.4rem; height: 1.6rem; padding: 0 .3rem; text-align: center; font-size: .85rem; }
.matrix td.own { outline: 2px solid #d1742a; outline-offset: -2px; background: none; }
.matrix th { font-size: .85rem; font-weight: 400; background: var(--paper); }
.matrix span { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.matrix tbody th { position: sticky; left: 0; z-index: 1; padding-right: .5rem; }
.matrix tbody th span { max-width: min(16rem, 30vw); text-align: right; }
.matrix thead > * > * { position: sticky; top: 0; z-index: 2; vertical-align: bottom; background: var(--paper); }
.matrix thead td { left: 0; z-index: 3; }
.matrix thead span { writing-mode: vertical-rl; transform: rotate(180deg); max-height: 11rem; margin: 0 auto .3rem; }
#together .scroll { max-height: 90vh; width: fit-content; max-width: 100%; }
#sheet ol { list-style: none; padding: 0; max-width: none; display: grid; gap: 1rem .75rem;
  grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); }
figure { margin: 0; } figure img { width: 100%; } figcaption { font-size: .85rem; margin-top: .25rem; }
.mark { display: block; border-left: .35rem solid var(--light); padding-left: .35rem; margin-top: .15rem;
  overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
@media (prefers-color-scheme: dark) { .mark { border-color: var(--dark); } }
@media screen and (max-width: 44rem) {
  .folding, .folding tbody, .folding tr { display: block; } .folding caption { display: block; }
  .folding thead { display: none; }
  .folding tr { border-bottom: 1px solid var(--line); padding: .6rem 0; }
  .folding tbody th { display: block; max-width: none; border: none; padding: 0 0 .25rem; }
  .folding td { display: grid; grid-template-columns: 8rem minmax(0, 1fr); gap: .5rem; border: none;
    padding: .15rem 0; }
  .folding td::before { content: attr(data-label); color: var(--quiet); }
  #variables tr { display: grid; grid-template-columns: 6rem minmax(0, 1fr); column-gap: 1rem; }
  #variables tbody th { grid-column: 1 / -1; }
  #variables td { grid-column: 2; grid-template-columns: minmax(0, 7rem) minmax(0, 1fr); }
  #variables td:nth-of-type(1) { grid-column: 1; grid-row: 2 / span 5; display: block; }
  #variables td:nth-of-type(1)::before { content: none; }
  #variables .track { min-width: 2rem; }
}
@media print {
  * { print-color-adjust: exact; } body { max-width: none; margin: 0; font-size: 10pt; }
  nav { display: none; } tr, figure, #verdict { break-inside: avoid; } h2 { break-after: avoid; }
  #together .scroll { max-height: none; overflow: visible; } .matrix * { position: static !important; }
  .many .matrix td { min-width: 0; padding: 0; } .many .matrix :is(td, th) { font-size: 5pt; }
  .many .matrix span { max-width: 5rem !important; max-height: 5rem; }
}
"""
