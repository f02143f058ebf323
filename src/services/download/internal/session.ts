import { anyCount, checkOptions, time } from "../../text/Numbers.js"
import type { SessionOptions } from "../Download.js"

/** The options of a session that are numbers, for every layer of `Downloader`. */
export const checkSession = (options: SessionOptions): void =>
  checkOptions(options, {
    connectTimeout: time,
    stallTimeout: time,
    limitRate: { least: 0, above: true, whole: false, infinite: true },
    maxRedirects: anyCount
  })
