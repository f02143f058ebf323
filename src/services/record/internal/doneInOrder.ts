import type * as Records from "../Records.js"

/**
 * Gives the last record up to which all are done, from the one with the number `first` on: what comes out of order
 * waits for the records that it has overtaken.
 */
export const doneInOrder = (first: number) => {
  let next = first
  let done: Records.Record | undefined
  const ahead = new Map<number, Records.Record>()
  return (records: ReadonlyArray<Records.Record>): Records.Record | undefined => {
    for (const record of records) ahead.set(record.index, record)
    for (let found = ahead.get(next); found !== undefined; found = ahead.get(next)) {
      done = found
      ahead.delete(next++)
    }
    return done
  }
}
