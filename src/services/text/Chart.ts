import * as Width from "./Width.js"

/**
 * An axis of a {@link Chart}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Axis {
  readonly label: string
  /** Equal distances are equal ratios: for values of different magnitudes. Values of 0 or less count as the least. */
  readonly log?: boolean | undefined
  /** A value as text; default: whole thousands as `5k`. */
  readonly format?: ((value: number) => string) | undefined
}

/**
 * A line of a {@link Chart}. Points that are not finite are left out.
 *
 * @since 0.1.0
 * @category models
 */
export interface Series {
  readonly name: string
  readonly points: ReadonlyArray<readonly [x: number, y: number]>
}

/**
 * Lines over a plane, with a mark at each point, which tells them apart without colours.
 *
 * @since 0.1.0
 * @category models
 */
export interface Chart {
  readonly title: string
  /** The chart in a sentence, for those who do not see it. */
  readonly description: string
  readonly x: Axis
  readonly y: Axis
  readonly series: ReadonlyArray<Series>
}

// scales

/**
 * The values of an axis, and the place of each: 0 at the first, 1 at the last, never falling in between.
 *
 * @since 0.1.0
 * @category models
 */
export interface Scale {
  readonly from: number
  readonly to: number
  /** Rising values within the axis, to be labelled. */
  readonly ticks: ReadonlyArray<number>
  /** From 0 to 1; a value beyond the axis is at its end. */
  readonly place: (value: number) => number
}

const steps = [1, 2, 5, 10]

/** The number next to `value` whose first digit is 1, 2 or 5: below it, or above it. */
const round = (value: number, direction: "down" | "up"): number => {
  const power = 10 ** Math.floor(Math.log10(value))
  const share = value / power
  const step =
    direction === "down"
      ? steps.findLast((step) => step <= share * (1 + 1e-9))
      : steps.find((step) => step >= share * (1 - 1e-9))
  return Number(((step ?? 1) * power).toPrecision(12))
}

/** Numbers that an axis can hold: beyond them a ratio of two values is no number any more. */
const usable = (value: number, log: boolean) =>
  Number.isFinite(value) && Math.abs(value) < 1e100 && (!log || value > 1e-100)

/**
 * The scale of an axis that holds these values, its ends rounded to 1, 2 or 5 times a power of ten.
 *
 * @since 0.1.0
 * @category constructors
 */
export const scale = (values: Iterable<number>, log = false): Scale => {
  const held = [...values].filter((value) => usable(value, log))
  const least = held.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY)
  const most = held.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY)
  if (log) {
    const from = held.length === 0 ? 1 : round(least, "down")
    const above = held.length === 0 ? 10 : round(most, "up")
    const to = above > from ? above : from * 10
    const decades = Math.log10(to / from)
    const every = Math.max(1, Math.ceil(decades / 8))
    const ticks: Array<number> = []
    for (let power = Math.floor(Math.log10(from) + 1e-9); 10 ** power <= to * (1 + 1e-9); power++) {
      if (decades > 2 && power % every !== 0) continue
      for (const step of decades > 2 ? [1] : [1, 2, 5]) {
        const tick = Number((step * 10 ** power).toPrecision(12))
        if (tick >= from * (1 - 1e-9) && tick <= to * (1 + 1e-9)) ticks.push(tick)
      }
    }
    return {
      from,
      to,
      ticks,
      place: (value) => (value > from ? Math.min(1, Math.log10(value / from) / decades) : 0)
    }
  }
  const low = Math.min(0, held.length === 0 ? 0 : least)
  const high = Math.max(0, held.length === 0 ? 1 : most)
  const every = round(high === low ? 1 : Math.max((high - low) / 5, 1e-99), "up")
  const first = Math.floor(low / every + 1e-9)
  const last = Math.max(first + 1, Math.ceil(high / every - 1e-9))
  const ticks = Array.from({ length: last - first + 1 }, (_, i) =>
    Number(((first + i) * every).toPrecision(12))
  )
  const [from, to] = [ticks[0]!, ticks.at(-1)!]
  return { from, to, ticks, place: (value) => Math.min(1, Math.max(0, (value - from) / (to - from))) }
}

const plain = (value: number): string =>
  Math.abs(value) >= 1000 ? `${Number((value / 1000).toPrecision(3))}k` : `${Number(value.toPrecision(3))}`

const axes = (chart: Chart) => {
  const series = chart.series.map(({ name, points }) => ({
    name,
    points: points.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y)).sort(([a], [b]) => a - b)
  }))
  const all = series.flatMap(({ points }) => points)
  const axis = ({ format = plain, label, log = false }: Axis, values: ReadonlyArray<number>) => ({
    ...{ format, label },
    ...scale(values, log)
  })
  return {
    series,
    x: axis(
      chart.x,
      all.map(([x]) => x)
    ),
    y: axis(
      chart.y,
      all.map(([, y]) => y)
    )
  }
}

// terminal

const marks = ["o", "x", "+", "*", "#", "@"]
const markOf = (index: number) => marks[index % marks.length]!

/** Where several marks meet. */
const several = "%"

/** The least size of the plane, in columns and rows. */
const least = { columns: 10, rows: 3 }

/**
 * The chart for a terminal, at most so many columns wide: title, plane with marks and axes, legend. Nothing but characters
 * of one column, no colours. Where there is no room for a plane: the title alone.
 *
 * @example
 * ```ts
 * import * as Chart from "effect-asyncio/services/Chart"
 *
 * export const lines = Chart.lines(
 *   {
 *     title: "answers a second",
 *     description: "twice as many with each connection",
 *     x: { label: "connections" },
 *     y: { label: "answers a second" },
 *     series: [{ name: "server", points: [[1, 10], [2, 20], [3, 40]] }]
 *   },
 *   { columns: 60, rows: 8 }
 * )
 * ```
 *
 * @since 0.1.0
 * @category formatting
 */
export const lines = (
  chart: Chart,
  size: { readonly columns: number; readonly rows: number }
): ReadonlyArray<string> => {
  const { series, x, y } = axes(chart)
  const labels = y.ticks.map(y.format)
  const left = Math.max(0, ...labels.map(Width.of))
  const columns = Math.floor(size.columns) - left - 2
  const rows = Math.max(least.rows, Math.floor(size.rows))
  const title = Width.cut(chart.title, size.columns)
  if (!(columns >= least.columns)) return [title]

  const plane = Array.from({ length: rows }, () => Array.from({ length: columns }, () => " "))
  const column = (value: number) => Math.round(x.place(value) * (columns - 1))
  const row = (value: number) => rows - 1 - Math.round(y.place(value) * (rows - 1))
  for (const { points } of series) {
    for (let i = 1; i < points.length; i++) {
      const [c1, r1] = [column(points[i - 1]![0]), row(points[i - 1]![1])]
      const [c2, r2] = [column(points[i]![0]), row(points[i]![1])]
      const most = Math.max(Math.abs(c2 - c1), Math.abs(r2 - r1))
      for (let step = 1; step < most; step++) {
        const share = step / most
        plane[Math.round(r1 + (r2 - r1) * share)]![Math.round(c1 + (c2 - c1) * share)] = "·"
      }
    }
  }
  const taken = new Map<string, number>()
  for (const [index, { points }] of series.entries()) {
    for (const point of points) {
      const [c, r] = [column(point[0]), row(point[1])]
      const before = taken.get(`${c} ${r}`)
      plane[r]![c] = before === undefined || before === index ? markOf(index) : several
      taken.set(`${c} ${r}`, index)
    }
  }

  const labelled = new Map(y.ticks.map((tick, i) => [row(tick), labels[i]!]))
  const body = plane.map((cells, at) => {
    const label = labelled.get(at)
    const edge = label === undefined ? "│" : "┤"
    return `${" ".repeat(left - Width.of(label ?? ""))}${label ?? ""} ${edge}${cells.join("")}`.trimEnd()
  })
  const rule = Array.from({ length: columns }, () => "─")
  let below = ""
  const indent = " ".repeat(left + 2)
  for (const tick of x.ticks) {
    const at = column(tick)
    const label = x.format(tick)
    const start = Math.max(0, Math.min(columns - Width.of(label), at - Math.floor(Width.of(label) / 2)))
    rule[at] = "┬"
    // A label without room is left out; its tick stays.
    if (below !== "" && start <= Width.of(below)) continue
    if (start + Width.of(label) <= columns) below = `${Width.padEnd(below, start)}${label}`
  }
  const legend = series.map(({ name }, index) => `${markOf(index)} ${name}`)
  if (plane.some((cells) => cells.includes(several))) legend.push(`${several} several`)
  return [
    title,
    ...body,
    `${" ".repeat(left + 1)}└${rule.join("")}`,
    `${indent}${below}`,
    Width.cut(`${indent}${x.label}`, size.columns),
    ...legend.map((line) => Width.cut(`${indent}${line}`, size.columns))
  ]
}

// pictures

/**
 * Text for HTML and SVG: markup in it is shown, and characters that XML does not allow are replaced.
 *
 * @since 0.1.0
 * @category formatting
 */
export const escape = (text: string): string =>
  text
    .replace(/[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/gu, "\ufffd")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("'", "&#39;")

/** Colours that are told apart with any kind of colour vision (Okabe and Ito), on light and on dark ground. */
const colors = [
  ["#0072b2", "#56b4e9"],
  ["#d55e00", "#e69f00"],
  ["#00795a", "#2fc79b"],
  ["#a04a80", "#e2a3c7"]
] as const
const dashes = ["", "8 4", "2 4", "10 3 2 3"]

// Plain colours: renderers that are no browsers have no variables.
const styles = (() => {
  const of = (index: 0 | 1) => {
    const [ground, ink, grid] = [
      ["#ffffff", "#1f2328", "#d8dee4"],
      ["#0d1117", "#e6edf3", "#30363d"]
    ][index]!
    const series = colors.map((pair, i) => `.s${i}{fill:${pair[index]};stroke:${pair[index]}}`).join("")
    return `rect{fill:${ground}}text{fill:${ink}}.grid line{stroke:${grid}}${series}`
  }
  return `text{font:13px system-ui,sans-serif;stroke:none}.title{font-weight:600;font-size:15px}${of(0)}.line{fill:none;stroke-width:2}@media(prefers-color-scheme:dark){${of(1)}.line{fill:none}}`
})()

const shapes: ReadonlyArray<(x: number, y: number) => string> = [
  (x, y) => `<circle cx="${x}" cy="${y}" r="4.5"/>`,
  (x, y) => `<path d="M${x - 4.5} ${y - 4.5}h9v9h-9z"/>`,
  (x, y) => `<path d="M${x} ${y - 5.5}l5.5 9.5h-11z"/>`,
  (x, y) => `<path d="M${x} ${y - 6}l6 6l-6 6l-6-6z"/>`
]

const size = { width: 720, height: 400, left: 74, right: 20, top: 44, bottom: 84 }
const px = (value: number) => Math.round(value * 10) / 10

const panel = (chart: Chart, top: number, id: string): string => {
  const { series, x, y } = axes(chart)
  const width = size.width - size.left - size.right
  const height = size.height - size.top - size.bottom
  const atX = (value: number) => px(size.left + x.place(value) * width)
  const atY = (value: number) => px(size.top + (1 - y.place(value)) * height)
  const grid = [
    ...y.ticks.map(
      (tick) =>
        `<line x1="${size.left}" x2="${size.left + width}" y1="${atY(tick)}" y2="${atY(tick)}"/><text x="${size.left - 8}" y="${atY(tick) + 4}" text-anchor="end">${escape(y.format(tick))}</text>`
    ),
    ...x.ticks.map(
      (tick) =>
        `<line x1="${atX(tick)}" x2="${atX(tick)}" y1="${size.top}" y2="${size.top + height}"/><text x="${atX(tick)}" y="${size.top + height + 18}" text-anchor="middle">${escape(x.format(tick))}</text>`
    )
  ]
  const drawn = series.map(({ name, points }, index) => {
    const shape = shapes[index % shapes.length]!
    const dash = dashes[index % dashes.length]!
    const path = points.map(([px, py], i) => `${i === 0 ? "M" : "L"}${atX(px)} ${atY(py)}`).join("")
    const each = points.map(
      ([px, py]) =>
        `<g><title>${escape(`${name}: ${x.format(px)}, ${y.format(py)}`)}</title>${shape(atX(px), atY(py))}</g>`
    )
    const legend = size.left + (index * width) / Math.max(1, series.length)
    const line = size.height - 18
    const dashed = dash === "" ? "" : ` stroke-dasharray="${dash}"`
    return [
      `<g class="s${index % colors.length}">`,
      path === "" ? "" : `<path class="line" d="${path}"${dashed}/>`,
      ...each,
      `<path class="line" d="M${px(legend)} ${line}h34"${dashed}/>${shape(px(legend + 17), line)}`,
      `<text x="${px(legend + 42)}" y="${line + 4}">${escape(name)}</text></g>`
    ].join("")
  })
  return [
    `<g transform="translate(0 ${top})" role="img" aria-labelledby="${id}t ${id}d">`,
    `<title id="${id}t">${escape(chart.title)}</title><desc id="${id}d">${escape(chart.description)}</desc>`,
    `<text class="title" x="16" y="24">${escape(chart.title)}</text>`,
    `<g class="grid">${grid.join("")}</g>`,
    `<text x="${size.left + width / 2}" y="${size.top + height + 38}" text-anchor="middle">${escape(x.label)}</text>`,
    ...drawn,
    "</g>"
  ].join("\n")
}

/**
 * Charts below each other as an SVG, for light and dark surroundings. Series differ by mark and by dashes as well as by
 * colour; each chart has its title and description for screen readers, and each point its values as a tooltip.
 *
 * @since 0.1.0
 * @category formatting
 */
export const svg = (charts: ReadonlyArray<Chart>, title: string): string => {
  const height = size.height * Math.max(1, charts.length)
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${height}" width="${size.width}" height="${height}" role="group" aria-labelledby="chart-title">
<title id="chart-title">${escape(title)}</title>
<style>${styles}</style>
<rect width="100%" height="100%"/>
${charts.map((chart, i) => panel(chart, i * size.height, `c${i}`)).join("\n")}
</svg>
`
}
