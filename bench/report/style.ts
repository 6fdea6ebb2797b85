/** The page's looks, light and dark. Colours tell the contenders apart, also for most who see them differently. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --paper: #fdfdfb; --panel: #f3f3ee; --ink: #1c1f23; --soft: #5d646c; --rule: #dcdcd4;
  --good: #1a7f4b; --bad: #b3392f; --open: #7a7f86;
  --twill: #c8501e; --kernel: #48515c; --reference: #2b7a78; --ovs-tso: #5b6ee1; --ovs: #9aa6ee;
  --vde: #b58900; --tinc: #a0527e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15181b; --panel: #1e2226; --ink: #e6e6e1; --soft: #a0a7ae; --rule: #343a40;
    --good: #58c48b; --bad: #f0857b; --open: #8d949b;
    --twill: #ff8a50; --kernel: #aab4bf; --reference: #5fc0bc; --ovs-tso: #93a1ff; --ovs: #5f6bb8;
    --vde: #e0b84a; --tinc: #d98ab4;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 880px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 21px; margin: 52px 0 6px; padding-top: 14px; border-top: 2px solid var(--ink); }
h3 { font-size: 15px; margin: 26px 0 8px; font-weight: 600; }
p { margin: 6px 0 12px; max-width: 70ch; }
.soft, figcaption { color: var(--soft); }
figure { margin: 10px 0 22px; }
figcaption { font-size: 13px; margin-top: 4px; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 18px; margin: 18px 0; font-size: 14px; }
dt { color: var(--soft); } dd { margin: 0; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
th { text-align: left; font-weight: 600; color: var(--soft); border-bottom: 1px solid var(--ink); padding: 5px 10px 5px 0; vertical-align: bottom; }
td { border-bottom: 1px solid var(--rule); padding: 5px 10px 5px 0; vertical-align: top; }
td.n, th.n { text-align: right; }
td.n, th.n, td.whole { white-space: nowrap; }
tr.head td { font-weight: 600; padding-top: 14px; border-bottom-color: var(--soft); }
.verdict { font-weight: 600; white-space: nowrap; }
.aim, .met { color: var(--good); } .missed { color: var(--bad); } .unknown { color: var(--open); }
.notes { background: var(--panel); border-left: 3px solid var(--bad); padding: 10px 16px; margin: 20px 0; font-size: 13.5px; }
.notes ul { margin: 4px 0; padding-left: 18px; }
.counts { display: flex; gap: 28px; margin: 18px 0 8px; }
.counts b { display: block; font-size: 30px; line-height: 1.1; font-variant-numeric: tabular-nums; }
code, pre { font: 13px/1.5 ui-monospace, monospace; }
pre { background: var(--panel); padding: 12px 16px; overflow-x: auto; }
svg text { font: 12.5px system-ui, sans-serif; fill: var(--ink); }
svg text.tick, svg text.axis { fill: var(--soft); font-size: 11.5px; }
svg text.own { font-weight: 650; }
svg text.value { font-variant-numeric: tabular-nums; }
.grid { stroke: var(--rule); } .one { stroke: var(--ink); stroke-width: 1.5; }
.whisker { stroke: var(--ink); stroke-width: 1.3; } .interval { stroke: var(--soft); stroke-width: 2; }
.bar { opacity: 0.85; } .curve { fill: none; stroke-width: 2.2; } .dot { stroke: var(--paper); stroke-width: 1; }
.c-twill { fill: var(--twill); } .curve.c-twill { stroke: var(--twill); stroke-width: 3; }
.c-kernel, .c-direct { fill: var(--kernel); } .curve.c-kernel, .curve.c-direct { stroke: var(--kernel); }
.c-reference, .c-twill-direct { fill: var(--reference); } .curve.c-reference, .curve.c-twill-direct { stroke: var(--reference); }
.c-ovs-tso, .c-nftables { fill: var(--ovs-tso); } .curve.c-ovs-tso, .curve.c-nftables { stroke: var(--ovs-tso); }
.c-ovs, .c-quiet { fill: var(--ovs); } .curve.c-ovs, .curve.c-quiet { stroke: var(--ovs); }
.c-vde, .c-iptables { fill: var(--vde); } .curve.c-vde, .curve.c-iptables { stroke: var(--vde); }
.c-tinc { fill: var(--tinc); } .curve.c-tinc { stroke: var(--tinc); }
.curve { fill: none !important; }
@media print { main { max-width: none; } h2 { break-after: avoid; } figure { break-inside: avoid; } }
`;
