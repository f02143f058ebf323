import { FastCheck as fc } from "effect"
import { campaign } from "./Campaign.js"
import { cases, wrong } from "./ResumeModel.js"

campaign(
  "resume: a file is one version that the server had, or is not there",
  fc.asyncProperty(cases, async (one) => {
    const why = await wrong(one)
    if (why !== undefined) throw new Error(why)
  })
)
