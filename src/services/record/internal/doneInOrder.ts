import type * as Records from "../Records.js"

/**
 * Returns the last record up to which all are done, from the number `first` on: a record that is done out of order waits
 * for those that it has overtaken.
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
