import { describe, expect, it } from "vitest";

import type { Account, Charge, SiteSummary } from "../src/api/types";
import { describe as inWords, roundsOf } from "../src/charts/model";
import { toCsv } from "../src/ledger/export";
import { byShare, example, runsOf, timeOfRun, toldOf } from "../src/ledger/figures";
import { lifetimeModel } from "../src/ledger/lifetime-model";
import { accountWords, outcomeWords, stepWords } from "../src/ledger/words";
import { adviceFor } from "../src/sites/advice";
import { byNeed } from "../src/sites/order";

const RUNS = ["01KE6P4YM0NX0H6Y9J2BQG34G5", "01KE999WM0NX0H6Y9J2BQG34G5", "01KEBVNTM0NX0H6Y9J2BQG34G5"];

function account(site: string, spent: readonly number[], more: Partial<Account> = {}): Account {
  const runs = RUNS.slice(0, spent.length);
  const last = spent.at(-1) ?? null;
  return {
    site,
    dataset: "wdbc@1",
    status: "within_budget",
    code: null,
    epsilon_limit: last === null ? null : 8,
    delta: 1e-5,
    adjacency: "add-remove",
    unit: "record",
    epsilon_spent: last,
    epsilon_planned: null,
    epsilon_remaining: last === null ? null : 8 - last,
    epsilon_held_out: 0,
    epsilon_before: last === null ? null : 0,
    told_at: null,
    runs: runs.length,
    declined: 0,
    unlisted: 0,
    first_run: RUNS[0] ?? "",
    first_at: "2026-01-05T09:00:00Z",
    last_run: runs.at(-1) ?? "",
    last_at: "2026-01-05T09:00:00Z",
    runs_left: 12,
    ledger_seq: 3,
    ledger_head: "00",
    policies: [],
    history: {
      run_ids: runs,
      at: runs.map(() => "2026-01-05T09:00:00Z"),
      epsilon_run: runs.map(() => 1),
      epsilon_before: [0, ...spent.slice(0, -1)].slice(0, spent.length),
      epsilon_after: [...spent],
      sampled: false,
    },
    ...more,
  };
}

function charge(more: Partial<Charge> = {}): Charge {
  return {
    run_id: RUNS[0] ?? "",
    name: "breast-cancer",
    state: "finished",
    dataset: "wdbc@1",
    site: "site-1",
    at: "2026-01-05T09:00:00Z",
    outcome: "joined",
    code: null,
    delta: 1e-5,
    epsilon_run: 0.9994,
    epsilon_before: 0,
    epsilon_after: 0.9994,
    unlisted: false,
    rounds: 14,
    missed: 0,
    late: 0,
    evaluations: 0,
    epsilon_evaluations: 0,
    ledger_seq: 17,
    ledger_head: "ab",
    policy_digest: "cd",
    ...more,
  };
}

describe("accounts", () => {
  it("are ordered by the share of their own limit, the silent ones last", () => {
    const silent = account("site-0", []);
    const strict = account("site-9", [1], { epsilon_limit: 1.5 });
    expect(byShare([silent, account("site-1", [2]), strict]).map(({ site }) => site)).toEqual([
      "site-9",
      "site-1",
      "site-0",
    ]);
    expect(toldOf(silent)).toBeNull();
  });

  it("explain composition only by a life that is known from its beginning", () => {
    const whole = account("site-1", [1, 1.45, 1.8]);
    expect(example([whole, account("site-2", [1])])).toMatchObject({ runs: 3, together: 1.8 });
    expect(example([account("site-1", [1, 1.45], { unlisted: 1 })])).toBeNull();
    expect(example([account("site-1", [1, 1.45], { epsilon_before: 0.4 })])).toBeNull();
  });

  it("that declined say why", () => {
    expect(accountWords(account("site-1", [1], { status: "refused", code: "POLICY_REFUSED" }))).toBe(
      "Declined: against its policy",
    );
  });

  it("know the time of a run from its id", () => {
    expect(new Date(timeOfRun(RUNS[0] ?? "")).toISOString()).toBe("2026-01-05T09:00:00.000Z");
  });
});

describe("the chart over runs", () => {
  const accounts = [account("site-1", [1, 1.45, 1.8]), account("site-2", [2])];
  const shown = toldOf(accounts[0] ?? account("", []));
  const { model, table } = lifetimeModel(accounts, shown);

  it("has a place for every run and for what was before", () => {
    expect(runsOf(accounts)).toEqual(RUNS);
    expect(model.rounds).toEqual([0, 3]);
    expect(roundsOf(model.series)).toEqual([0, 1, 2, 3]);
    expect(model.series.find(({ id }) => id === "site-1/wdbc@1")?.points.at(-1)?.value).toBe(1.8 / 8);
  });

  it("says a run in words, spent rounded up", () => {
    expect(inWords(model, 2)).toMatch(
      /^Run of \d+ Jan, \d\d:\d\d UTC: site-1 ε 1.45, Share of limit 19.%, This run alone ε 1.00$/,
    );
    expect(inWords(model, 0)).toBe("Before the first run here: site-1 ε 0.00");
  });

  it("has a table, newest run first", () => {
    expect(table.rows.map((row) => row[2])).toEqual(["1.80", "1.45", "1.00"]);
  });
});

describe("charges in words", () => {
  it("say that a refusal cost nothing and a late reply did", () => {
    expect(outcomeWords(charge({ outcome: "declined", code: "BUDGET_EXHAUSTED" }))).toBe(
      "Declined: budget cannot pay. Nothing charged",
    );
    expect(outcomeWords(charge({ missed: 2, late: 1 }))).toBe(
      "Joined, 2 rounds missed, 1 late reply, charged",
    );
    expect(outcomeWords(charge({ code: "BUDGET_EXHAUSTED" }))).toBe(
      "Joined, then declined: budget cannot pay",
    );
  });

  it("say a step that the listed runs do not explain", () => {
    expect(stepWords(charge())).toBeNull();
    expect(stepWords(charge({ unlisted: true, epsilon_before: 1.681 }))).toContain("1.69");
  });
});

describe("the exported table", () => {
  it("is exact, quoted where it must be, and never a formula", () => {
    const [head, first, second] = toCsv([
      charge({ epsilon_run: 0.999312345678, code: null }),
      charge({ name: '=1+1,"x"' }),
    ]).split("\r\n");
    expect(head?.split(",").slice(0, 3)).toEqual(["run_id", "name", "state"]);
    expect(first).toContain(",0.999312345678,");
    expect(first).toContain(",joined,,");
    expect(second).toContain(`,"'=1+1,""x""",`);
  });
});

describe("sites", () => {
  const calm: SiteSummary = {
    site: "site-1",
    standing: "in_run",
    since: null,
    run_id: RUNS[0] ?? "",
    run_active: true,
    code: null,
    last_heard: null,
    datasets: ["wdbc@1"],
    budget: "within_budget",
    joined: 1,
    declined: 0,
    rounds: 3,
    missed: 0,
    late: 0,
    bad: 0,
    stock: false,
    key: null,
  };

  it("come first when they need somebody", () => {
    const waiting = { ...calm, site: "site-9", standing: "awaiting_approval" as const };
    expect([calm, waiting].toSorted(byNeed).map(({ site }) => site)).toEqual(["site-9", "site-1"]);
  });

  it("get the exact command for a plan that waits for a person", () => {
    const [advice] = adviceFor({ ...calm, standing: "awaiting_approval" });
    expect(advice?.commands.map(({ command }) => command)).toEqual([
      `fedpriv approve show ${RUNS[0] ?? ""}`,
      `fedpriv approve grant ${RUNS[0] ?? ""} --by "NAME"`,
    ]);
    expect(adviceFor(calm)).toEqual([]);
  });

  it("are told what a refusal asks of them", () => {
    expect(adviceFor({ ...calm, standing: "declined", code: "CONTRACT_MISMATCH" })[0]?.text).toContain(
      "same file",
    );
    expect(adviceFor({ ...calm, standing: "revoked" })[0]?.title).toContain("allow-list");
    expect(adviceFor({ ...calm, budget: "at_limit" })[0]?.title).toContain("cannot pay");
  });
});
