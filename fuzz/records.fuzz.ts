import { mapping, splitting } from "../test/support/RecordModel.js"
import { campaign } from "./Campaign.js"

campaign("records are found as by a simple reader, in whatever chunks", splitting)
campaign("each record is accounted for once, whatever the function does", mapping, { timeout: 60_000 })
