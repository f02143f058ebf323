import { FastCheck } from "effect"
import { assert, describe } from "vitest"
import * as FollowModel from "../test/support/FollowModel.js"
import { campaign } from "./Campaign.js"

describe("follow", () => {
  campaign(
    "no line of a log is lost, cut or out of order, whatever happens to its files and to the follower",
    FastCheck.asyncProperty(FollowModel.cases, async (one) =>
      assert.deepStrictEqual(await FollowModel.run(one), [])
    )
  )
})
