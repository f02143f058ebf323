import { names } from "../../programs/Network.js"

// The page in a browser: parts appear as they arrive, by server-sent events. Plain HTML; a screen reader hears each part.

const rows = names
  .map(
    (name) =>
      `<tr id="${name}"><th scope="row">${name}</th><td class="time"></td><td class="text">waiting…</td></tr>`
  )
  .join("\n")

export const html = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>One page from six services</title>
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .4rem .6rem; border-bottom: 1px solid color-mix(in srgb, currentColor 25%, transparent); text-align: start; }
.time { text-align: end; font-variant-numeric: tabular-nums; white-space: nowrap; }
.degraded .text { font-weight: 600; }
.degraded .text::before { content: "⚠ "; }
input, button { font: inherit; padding: .2rem .5rem; }
</style>
<main>
<h1>One page from six services</h1>
<form><label>User <input name="user" value="ada" autocomplete="off" required></label> <button>Ask</button></form>
<table aria-live="polite" aria-busy="true">
<caption id="state">asking…</caption>
<thead><tr><th scope="col">part</th><th scope="col" class="time">time</th><th scope="col">answer</th></tr></thead>
<tbody>
${rows}
</tbody>
</table>
</main>
<script>
const table = document.querySelector("table")
const state = document.querySelector("#state")
let source
const ask = (user) => {
  source?.close()
  table.setAttribute("aria-busy", "true")
  state.textContent = "asking…"
  for (const row of table.tBodies[0].rows) {
    row.className = ""
    row.querySelector(".time").textContent = ""
    row.querySelector(".text").textContent = "waiting…"
  }
  source = new EventSource("/events/" + encodeURIComponent(user))
  source.addEventListener("part", ({ data }) => {
    const { name, took, text, degraded } = JSON.parse(data)
    const row = document.getElementById(name)
    row.className = degraded ? "degraded" : ""
    row.querySelector(".time").textContent = took.toFixed(1) + " ms"
    row.querySelector(".text").textContent = text
  })
  const end = (text) => {
    source.close()
    table.setAttribute("aria-busy", "false")
    state.textContent = text
  }
  source.addEventListener("done", ({ data }) => {
    const { total, sum } = JSON.parse(data)
    end("total " + total.toFixed(1) + " ms, one after another " + sum.toFixed(1) + " ms")
  })
  source.onerror = () => end("no answer from the server")
}
document.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault()
  ask(new FormData(event.target).get("user"))
})
ask("ada")
</script>
</html>
`
