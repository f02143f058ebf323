// A bare identity of NDJSON: chunks of standard input, split at line ends, each line parsed and written as it came.
// With the word "stringify" each is written anew, as most would do it.
let carry = ""
const anew = process.argv[2] === "stringify"
process.stdin.setEncoding("utf8")
for await (const chunk of process.stdin) {
  const lines = (carry + chunk).split("\n")
  carry = lines.pop()
  let out = ""
  for (const line of lines) {
    const record = JSON.parse(line)
    out += `${anew ? JSON.stringify(record) : line}\n`
  }
  if (out !== "" && !process.stdout.write(out))
    await new Promise((resolve) => process.stdout.once("drain", resolve))
}
if (carry !== "") process.stdout.write(`${JSON.stringify(JSON.parse(carry))}\n`)
