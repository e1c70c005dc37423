/** The API's answers, under the names this page uses. Generated from openapi.json; `npm run api` renews them. */
import type { components } from "./schema";

type Schemas = components["schemas"];

export type RunSummary = Schemas["RunSummary"];
export type RunPage = Schemas["RunPage"];
export type RunDetail = Schemas["RunDetail"];
export type RunState = Schemas["RunState"];
export type MetricSeries = Schemas["MetricSeries"];
export type RunPrivacy = Schemas["RunPrivacy"];
export type SitePrivacy = Schemas["SitePrivacy"];
export type SiteStatus = SitePrivacy["status"];
export type RunLog = Schemas["RunLog"];
export type LogEntry = Schemas["LogEntry"];
export type Plan = Schemas["Plan"];
export type Release = Schemas["Release"];
export type PlanAnswer = Schemas["PlanAnswer"];
export type RecordPage = Schemas["RecordPage"];
export type Problem = Schemas["Problem"];
export type Readiness = Schemas["Readiness"];
export type Frontiers = Schemas["Frontiers"];
export type Frontier = Schemas["Frontier"];
export type FrontierRun = Schemas["FrontierRun"];
export type HeldOut = Schemas["HeldOut"];
export type LedgerPage = Schemas["LedgerPage"];
export type Account = Schemas["Account"];
export type AccountStatus = Account["status"];
export type ChargePage = Schemas["ChargePage"];
export type Charge = Schemas["Charge"];
export type SitePage = Schemas["SitePage"];
export type SiteSummary = Schemas["SiteSummary"];
export type SiteDetail = Schemas["SiteDetail"];
export type Standing = SiteSummary["standing"];
