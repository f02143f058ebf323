import { Either } from "effect"
import * as DownloadList from "../../services/download/DownloadList.js"
import * as Flag from "../kernel/Flag.js"
import * as Flags from "../kernel/Flags.js"
import * as Values from "../kernel/Values.js"

const header: Flag.Parse<readonly [name: string, value: string]> = (text) => {
  const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*)$/s.exec(text)
  if (match === null)
    return Either.left(`'${text.replace(/\s+/g, " ")}' is not a header; expected 'Name: value'`)
  if (/[\0-\x08\x0a-\x1f\x7f]|[^\0-\xff]/.test(match[2]!)) {
    return Either.left(`the value of ${match[1]} has a line end or another character that no header may have`)
  }
  return Either.right([match[1]!, match[2]!])
}

/** The options of `aio gather`. */
export const flags = {
  directory: Flag.withText(Flags.directory, "save files in DIR; without it they are read and counted"),
  argFile: Flag.withText(
    Flags.argFile,
    "read URLs from FILE too: a URL a line, then TAB and a file name, TAB and sha256:HEX; - is standard input"
  ),
  format: Flags.format(["lines", "null"]),
  nul: Flags.nul,
  maxLine: Flags.maxLine,
  jobs: Flag.withDefault(
    Flag.withText(Flags.jobs, "transfers at once: a number, or N% or +N of the processors"),
    {
      of: "number",
      n: 16
    },
    "16"
  ),
  perHost: Flag.value("per-host", {
    value: "N",
    text: "transfers at once from one host",
    parse: Values.integer(1)
  }),
  retries: Flags.retries(3),
  timeout: Flag.withText(Flags.timeout, "time limit of a transfer, with its retries"),
  stallTimeout: Flag.value("stall-timeout", {
    value: "DURATION",
    text: "longest time without a byte",
    parse: Values.span,
    default: "30s"
  }),
  connectTimeout: Flag.value("connect-timeout", {
    value: "DURATION",
    text: "time limit of a connection",
    parse: Values.span,
    default: "10s"
  }),
  limitRate: Flag.value("limit-rate", {
    value: "SIZE",
    text: "bytes a second over all transfers, like 500K or 2M",
    parse: Values.size(100)
  }),
  maxSize: Flag.value("max-size", {
    value: "SIZE",
    text: "most bytes of a decoded body; default no limit, but 1G for a compressed body",
    parse: Values.size(1)
  }),
  maxRedirects: Flag.withDefault(
    Flag.value("max-redirects", {
      value: "N",
      text: "redirects followed for one URL",
      parse: Values.integer(0)
    }),
    10
  ),
  header: Flag.values("header", {
    value: "'NAME: VALUE'",
    text: "send this with every request; Authorization and Cookie stay with the URL's own origin",
    parse: header
  }),
  checksum: Flag.value("checksum", {
    value: "sha256:HEX",
    text: "what the one URL's file must have",
    parse: DownloadList.parseChecksum
  }),
  onFailure: Flags.onFailure(["cancel", "continue", "collect"], "continue"),
  clobber: Flag.negatable(
    "clobber",
    "replace files that exist; --no-clobber keeps them, unless a checksum says that they are wrong",
    "--clobber"
  ),
  resume: Flag.negatable(
    "resume",
    "continue partial files of an earlier run that are the same version; --no-resume keeps none either",
    "--resume"
  ),
  contentDisposition: Flag.toggle("content-disposition", "take file names from the server"),
  fsync: Flag.toggle("fsync", "a finished file survives a power cut"),
  denyPrivate: Flag.toggle(
    "deny-private",
    "refuse addresses that are not public, at every redirect, after DNS"
  ),
  dryRun: Flag.withText(Flags.dryRun, "print URLs and files; download nothing"),
  progress: Flag.withText(Flags.progress, Flags.progress.text, "--progress on a terminal"),
  ...Flags.reporting
}
