"""The look of our pages: one column, the reader's own fonts, light or dark as the reader's system is."""

STYLE = """
:root { --ink: #1c1e21; --soft: #5a6068; --paper: #ffffff; --tint: #f3f4f6; --rule: #d9dce1;
  --good: #0b6b47; --good-tint: #dff3ea; --bad: #9c2f12; --bad-tint: #fbe5de; --open: #4b4f57; --open-tint: #e8eaee;
  --warn: #6b4a00; --warn-tint: #fdf1d3; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7e9ec; --soft: #a3a9b2; --paper: #16181b; --tint: #212429; --rule: #373c43;
    --good: #8be0bb; --good-tint: #12382a; --bad: #ffb59e; --bad-tint: #47200f; --open: #ccd1d9; --open-tint: #2c3037;
    --warn: #ffd98a; --warn-tint: #3d2f0c; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.5;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 1rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
.kicker { margin: 0; color: var(--soft); font-size: .9rem; }
.headline { background: var(--tint); border-radius: 10px; padding: 1rem 1.1rem; margin: 0 0 1rem; font-size: 1.05rem; }
.headline p { margin: .5rem 0 0; }
.headline .note { font-size: .92rem; color: var(--soft); }
.badge { display: inline-block; border-radius: 999px; padding: .1rem .7rem; font-size: .85rem; font-weight: 600; }
.badge.good { color: var(--good); background: var(--good-tint); }
.badge.bad { color: var(--bad); background: var(--bad-tint); }
.badge.open { color: var(--open); background: var(--open-tint); }
.warning { color: var(--warn); background: var(--warn-tint); border-radius: 10px; padding: .8rem 1.1rem; }
figure { margin: 1.2rem 0; }
figure img { display: block; width: 100%; height: auto; background: #fff; border: 1px solid var(--rule);
  border-radius: 10px; }
figcaption, .small { color: var(--soft); font-size: .88rem; margin-top: .5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { padding: .4rem .6rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--rule); }
th { color: var(--soft); font-weight: 600; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td:first-child { overflow-wrap: anywhere; min-width: 10rem; }
td:last-child { min-width: 6rem; }
pre { overflow-x: auto; background: var(--tint); border-radius: 8px; padding: .8rem; font-size: .82rem; }
code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
li { margin-bottom: .3rem; }
summary { cursor: pointer; margin-top: .8rem; }
"""
