import { expect, test } from "vitest";

import { tableCsv } from "../src/charts/table-csv";

test("a table reads back as it is shown, and computes nothing in a spreadsheet", () => {
  const csv = tableCsv({
    columns: ["Site", "Said"],
    rows: [
      ["site-1", 'he said "no", twice'],
      ["=1+1", "+0.4 points"],
      ["–", "not released: would cost privacy"],
    ],
  });
  expect(csv).toBe(
    'Site,Said\r\nsite-1,"he said ""no"", twice"\r\n' +
      "'=1+1,'+0.4 points\r\n–,not released: would cost privacy\r\n",
  );
});
