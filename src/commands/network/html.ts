import { names } from "../../programs/Network.js"

// The page in a browser: parts appear as they arrive, by server-sent events. Plain HTML; the status, which a screen reader
// announces, has each part as it arrives and the total in the end.

const rows = names
  .map(
    (name) =>
      `<tr id="${name}"><th scope="row">${name}</th><td class="time"></td><td><span class="mark" aria-hidden="true"></span><span class="text">waiting…</span></td></tr>`
  )
  .join("\n")

export const html = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>One page from six services</title>
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; --line: color-mix(in srgb, CanvasText 20%, Canvas); --warn: light-dark(#9a3412, #fdba74); }
body { background: Canvas; color: CanvasText; max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 1rem; }
form { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem; }
input, button { font: inherit; padding: .3rem .7rem; border: 1px solid GrayText; border-radius: .3rem; background: Field; color: FieldText; }
button { background: ButtonFace; color: ButtonText; cursor: pointer; }
:focus-visible { outline: 3px solid Highlight; outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .5rem .6rem; border-bottom: 1px solid var(--line); text-align: start; vertical-align: baseline; }
th { font-weight: 600; }
.time { text-align: end; font-variant-numeric: tabular-nums; white-space: nowrap; width: 6rem; }
td:last-child { width: 65%; overflow-wrap: anywhere; }
.waiting .text { color: color-mix(in srgb, CanvasText 70%, Canvas); }
.degraded .text, .mark { color: var(--warn); font-weight: 600; }
.degraded { background: color-mix(in srgb, var(--warn) 8%, Canvas); }
</style>
<main>
<h1>One page from six services</h1>
<form><label for="user">User</label> <input id="user" name="user" value="ada" autocomplete="off" required pattern="[A-Za-z0-9][\\w@.+\\-]{0,63}" title="up to 64 letters, digits or any of @ . _ + -, the first a letter or a digit"> <button>Ask</button></form>
<p id="state" role="status">asking…</p>
<table aria-busy="true">
<thead><tr><th scope="col">part</th><th scope="col" class="time">time</th><th scope="col">answer</th></tr></thead>
<tbody>
${rows}
</tbody>
</table>
</main>
<script>
const table = document.querySelector("table")
const state = document.querySelector("#state")
const show = (row, kind, time, text) => {
  row.className = kind
  row.querySelector(".time").textContent = time
  row.querySelector(".mark").textContent = kind === "degraded" ? "⚠ " : ""
  row.querySelector(".text").textContent = text
}
const ms = (took) => took.toFixed(1) + " ms"
let source
const ask = (user) => {
  source?.close()
  table.setAttribute("aria-busy", "true")
  state.textContent = "asking…"
  const rows = [...table.tBodies[0].rows]
  for (const row of rows) show(row, "waiting", "", "waiting…")
  source = new EventSource("/events/" + encodeURIComponent(user))
  source.addEventListener("part", ({ data }) => {
    const { name, took, text, degraded } = JSON.parse(data)
    show(document.getElementById(name), degraded ? "degraded" : "", ms(took), text)
    state.textContent = name + ": " + text
  })
  const end = (text) => {
    source.close()
    table.setAttribute("aria-busy", "false")
    state.textContent = text
  }
  source.addEventListener("done", ({ data }) => {
    const { total, sum } = JSON.parse(data)
    const degraded = rows.filter((row) => row.className === "degraded").map((row) => row.id)
    end(
      rows.length + " parts in " + ms(total) + "; one after another " + ms(sum) +
        (degraded.length === 0 ? "" : ", " + degraded.length + " degraded: " + degraded.join(", "))
    )
  })
  source.onerror = () => {
    for (const row of rows) if (row.className === "waiting") show(row, "degraded", "", "no answer")
    end("no answer from the server")
  }
}
document.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault()
  ask(new FormData(event.target).get("user"))
})
ask("ada")
</script>
</html>
`
