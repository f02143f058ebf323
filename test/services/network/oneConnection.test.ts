import { describe, expect, it } from "@effect/vitest"
import type { Connection } from "../../../src/services/network/internal/libsql.js"
import * as OneConnection from "../../../src/services/network/internal/oneConnection.js"

const result = (sql: string) => ({ columns: [sql], rows: [], rowsAffected: 0, lastInsertRowid: undefined })

/** Connections that note what runs on them; statements named `busy` meet a lock on the first. */
const connections = () => {
  const noted: Array<string> = []
  let opened = 0
  const connect = (): Connection => {
    const me = ++opened
    return {
      close: () => noted.push(`${me} closed`),
      execute: (sql) => {
        noted.push(`${me} ${sql}`)
        if (sql === "busy" && me === 1) throw Object.assign(new Error("locked"), { code: "SQLITE_BUSY" })
        return result(sql)
      }
    }
  }
  return { connect, noted }
}

describe("one connection", () => {
  it("no statement runs on a connection whose statement has met a lock: what it wrote would be lost", async () => {
    const { connect, noted } = connections()
    const client = OneConnection.make(connect)
    expect(await Promise.all([client.execute("busy"), client.execute("write")])).toEqual(
      ["busy", "write"].map(result)
    )
    expect(noted).toEqual(["1 busy", "1 closed", "2 write", "2 busy"])
  })

  it("transactions that are asked for at once run one after the other, and statements wait for them", async () => {
    const { connect, noted } = connections()
    const client = OneConnection.make(connect)
    const transact = async (name: string) => {
      const transaction = await client.transaction()
      transaction.execute(name)
      transaction.commit()
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
