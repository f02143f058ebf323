import { join } from "node:path"
import { workflowKills } from "../services/cluster/workflowKills.js"

let files = 0
workflowKills("workflows in an SQLite file", (folder) => join(folder, `${++files}.sqlite`))
