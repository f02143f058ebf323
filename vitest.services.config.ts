import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["test/network/**/*.services.test.ts"],
    fileParallelism: false,
    testTimeout: 30_000,
    hookTimeout: 30_000
  }
})
