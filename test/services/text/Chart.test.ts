import { describe, expect, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import * as Chart from "../../../src/services/text/Chart.js"
import * as Width from "../../../src/services/text/Width.js"

const values = fc.oneof(
  fc.double({ noNaN: false }),
  fc.double({ min: 0.001, max: 1e6, noNaN: true }),
  fc.integer({ min: -3, max: 12_000 })
)
const texts = fc.oneof(
  fc.string({ unit: "grapheme" }),
  fc.constantFrom("<b>&\"'", "日本語", "\u0000\ud800x", "]]>")
)
const axis = fc.record({ label: texts, log: fc.boolean() })
const charts: fc.Arbitrary<Chart.Chart> = fc.record({
  title: texts,
  description: texts,
  x: axis,
  y: axis,
  series: fc.array(fc.record({ name: texts, points: fc.array(fc.tuple(values, values), { maxLength: 8 }) }), {
    maxLength: 7
  })
})

/** What is wrong with an XML text: elements that are not closed, a bare & or <, attributes without quotes. */
const malformed = (xml: string): string | undefined => {
  const open: Array<string> = []
  let rest = xml.replace(/^<!doctype html>\s*/, "")
  while (rest !== "") {
    const found =
      /^<(\/?)([a-z]+)((?:\s+[\w:-]+="[^"<&]*(?:&(?:amp|lt|gt|quot|#39);[^"<&]*)*")*)\s*(\/?)>/i.exec(rest) ??
      /^(?:[^<&\0-\x08]|&(?:amp|lt|gt|quot|#39);)+/.exec(rest)
    if (found === null) return rest.slice(0, 80)
    rest = rest.slice(found[0].length)
    const [, end, name, , alone] = found
    if (name === undefined || alone === "/") continue
    if (end !== "/") open.push(name)
    else if (open.pop() !== name) return `</${name}>`
  }
  return open.length === 0 ? undefined : `<${open.join("><")}>`
}

const sample: Chart.Chart = {
  title: "answers a second",
  description: "more with each connection",
  x: { label: "connections", log: true },
  y: { label: "answers a second", log: true },
  series: [
    {
      name: "event loop",
      points: [
        [1, 10],
        [10, 100],
        [100, 1000]
      ]
    },
    {
      name: "blocking",
      points: [
        [1, 10],
        [10, 10],
        [100, 10]
      ]
    }
  ]
}

describe("Chart.scale", () => {
  it("has rising ticks within its ends, and places that never fall, whatever the values are", () => {
    fc.assert(
      fc.property(fc.array(values), fc.boolean(), fc.array(values), (held, log, others) => {
        const { from, place, ticks, to } = Chart.scale(held, log)
        expect(from).toBeLessThan(to)
        expect(ticks.length).toBeGreaterThan(0)
        expect(ticks.length).toBeLessThan(30)
        expect(ticks).toEqual([...new Set(ticks)].sort((a, b) => a - b))
        for (const tick of ticks) {
          expect(tick).toBeGreaterThanOrEqual(from - Math.abs(from) * 1e-6)
          expect(tick).toBeLessThanOrEqual(to + Math.abs(to) * 1e-6)
        }
        const rising = [...held, ...others].filter(Number.isFinite).sort((a, b) => a - b)
        const places = rising.map(place)
        for (const [i, at] of places.entries()) {
          expect(at).toBeGreaterThanOrEqual(i === 0 ? 0 : places[i - 1]!)
          expect(at).toBeLessThanOrEqual(1)
        }
      })
    )
  })

  it("gives equal ratios equal distances on a logarithmic axis", () => {
    const { place, ticks } = Chart.scale([1, 10_000], true)
    expect(ticks).toEqual([1, 10, 100, 1000, 10_000])
    expect(ticks.map(place)).toEqual([0, 0.25, 0.5, 0.75, 1])
    expect([place(0), place(-5), place(1e9)]).toEqual([0, 0, 1])
  })
})

describe("Chart.lines", () => {
  it("is never wider than the terminal, and shows no NaN", () => {
    fc.assert(
      fc.property(
        charts,
        fc.integer({ min: 1, max: 120 }),
        fc.integer({ min: -1, max: 20 }),
        (chart, columns, rows) => {
          const lines = Chart.lines(
            {
              ...chart,
              title: "t",
              x: { ...chart.x, label: "x" },
              series: chart.series.map((one) => ({ ...one, name: "s" }))
            },
            { columns, rows }
          )
          for (const line of lines) expect(Width.of(line)).toBeLessThanOrEqual(columns)
          expect(lines.join("\n")).not.toMatch(/NaN|Infinity|undefined/)
          for (const line of Chart.lines(chart, { columns, rows })) {
            expect(Width.of(line)).toBeLessThanOrEqual(columns)
          }
        }
      ),
      { numRuns: 40 }
    )
  })

  it("draws marks that differ by series, axes with labels, and a legend", () => {
    const lines = Chart.lines(sample, { columns: 40, rows: 5 })
    expect(lines).toEqual([
      "answers a second",
      " 1k ┤                              ····o",
      "500 ┤                      ········",
      "100 ┤             ····o····",
      " 50 ┤     ········",
      " 10 ┤%················x················x",
      "    └┬────┬──────┬────┬────┬──────┬────┬",
      "     1    2      5   10   20     50  100",
      "     connections",
      "     o event loop",
      "     x blocking",
      "     % several"
    ])
  })

  it("is its title alone where there is no room", () => {
    expect(Chart.lines(sample, { columns: 12, rows: 5 })).toEqual(["answers a s…"])
  })
})

describe("Chart.svg", () => {
  it("is well-formed, with texts as texts, whatever they hold, and shows no NaN", () => {
    fc.assert(
      fc.property(fc.array(charts, { maxLength: 2 }), texts, (all, title) => {
        const svg = Chart.svg(all, title)
        expect(malformed(svg)).toBeUndefined()
        const shown = all.flatMap(({ x, y }) => [x.label, y.label])
        if (!shown.some((text) => /NaN|Inf|undef/.test(text))) {
          expect(svg.replace(/<(title|desc|text)[^>]*>[^<]*/g, "")).not.toMatch(/NaN|Infinity|undefined/)
        }
      })
    )
  })

  it("has a title and a description for screen readers, for the whole and for each chart", () => {
    const svg = Chart.svg([sample, { ...sample, title: "a < b & c" }], "all")
    expect(svg).toContain('<title id="chart-title">all</title>')
    expect(svg).toContain(
      '<title id="c0t">answers a second</title><desc id="c0d">more with each connection</desc>'
    )
    expect(svg).toContain('<title id="c1t">a &lt; b &amp; c</title>')
    const named = [...svg.matchAll(/aria-labelledby="([^"]*)"/g)].flatMap(([, ids]) => ids!.split(" "))
    expect(named).toEqual(["chart-title", "c0t", "c0d", "c1t", "c1d"])
    for (const id of named) expect(svg.split(`id="${id}"`)).toHaveLength(2)
  })

  it("tells series apart without colours, and follows light and dark", () => {
    const svg = Chart.svg([sample], "all")
    expect(svg).toContain("prefers-color-scheme:dark")
    expect(svg).toContain("<circle")
    expect(svg).toContain("stroke-dasharray")
    expect(svg).toContain("<title>event loop: 100, 1k</title>")
  })
})
