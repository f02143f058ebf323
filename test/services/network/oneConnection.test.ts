import { describe, expect, it } from "@effect/vitest"
import * as OneConnection from "../../../src/services/network/internal/oneConnection.js"

/** Connections that note what runs on them; statements named `busy` meet a lock on the first. */
const connections = () => {
  const noted: Array<string> = []
  let opened = 0
  const connect = (): OneConnection.Client => {
    const me = ++opened
    return {
      close: () => noted.push(`${me} closed`),
      execute: async (statement) => {
        noted.push(`${me} ${String(statement)}`)
        if (statement === "busy" && me === 1)
          throw Object.assign(new Error("locked"), { code: "SQLITE_BUSY" })
        return statement
      }
    }
  }
  return { connect, noted }
}

describe("one connection", () => {
  it("no statement runs on a connection whose statement has met a lock: what it wrote would be lost", async () => {
    const { connect, noted } = connections()
    const client = OneConnection.make(connect)
    expect(await Promise.all([client.execute("busy"), client.execute("write")])).toEqual(["busy", "write"])
    expect(noted).toEqual(["1 busy", "1 closed", "2 write", "2 busy"])
  })

  it("transactions that are asked for at once run one after the other, and statements wait for them", async () => {
    const { connect, noted } = connections()
    const client = OneConnection.make(connect)
    const transact = async (name: string) => {
      const transaction = await client.transaction()
      await transaction.execute(name)
      await transaction.commit()
    }
    await Promise.all([transact("a"), transact("b"), client.execute("c")])
    expect(noted).toEqual([
      "1 BEGIN IMMEDIATE",
      "1 a",
      "1 COMMIT",
      "1 BEGIN IMMEDIATE",
      "1 b",
      "1 COMMIT",
      "1 c"
    ])
  })
})
