import { useQuery } from "@tanstack/react-query";

import { ApiError } from "../api/client";
import type { PlanAnswer } from "../api/types";
import { to } from "../api/view";
import { ChartFrame } from "../charts/chart-card";
import type { PageProps } from "../pages";
import { ReadFailed } from "../states/message";
import { StaleBanner } from "../states/stale";
import { BoneStrip } from "../ui/bones";
import { ViewHeader } from "../ui/view-header";
import { ViewLink } from "../ui/view-link";
import { Alternatives } from "./alternatives";
import { curveOf, LOSS_CHART_HEIGHT, LossChart } from "./loss-chart";
import { PlanStrip, Verdict } from "./outlook";
import { PlanForm } from "./plan-form";
import { isComputing, planQuery } from "./query";
import type { Query } from "./question";
import { SiteCosts } from "./site-costs";
import { Grounds, StartCommand } from "./start";
import "../styles/plan.css";

/** A run before it is started: what it would cost and reach. */
export function PlanPage({ view, live, storageSince }: PageProps) {
  const plan = useQuery(planQuery(view.query));
  const refused = plan.error instanceof ApiError && plan.error.final ? plan.error : null;
  const computing = plan.isFetching && (plan.isPlaceholderData || !plan.data);
  const answer = plan.data ?? null;
  const broken = plan.error && !refused && !isComputing(plan.error) ? plan.error : null;
  return (
    <>
      <ViewHeader title="Plan a run" note="What a run would cost and reach, before anything is spent." />
      <div className="plan">
        <PlanForm query={view.query} answer={answer} faults={refused?.faults ?? {}} />
        <div className="plan-answer" aria-busy={computing}>
          <p className="sr-only" role="status">
            {computing || isComputing(plan.error)
              ? "The plan is being computed"
              : answer
                ? spoken(answer)
                : ""}
          </p>
          {refused ? (
            <Refused error={refused} />
          ) : broken && !answer ? (
            <ReadFailed
              error={broken}
              onRetry={() => {
                void plan.refetch();
              }}
            />
          ) : !answer ? (
            <Coming />
          ) : (
            <>
              <StaleBanner live={live} storageSince={storageSince} failure={broken?.message ?? null} />
              <div className={plan.isPlaceholderData ? "plan-figures outdated" : "plan-figures"}>
                <Answer answer={answer} query={view.query} />
              </div>
            </>
          )}
        </div>
      </div>
    </>
  );
}

/** What is said when a plan has come: the figures of the strip, in a sentence. */
function spoken({ forecast, fits }: PlanAnswer): string {
  const loss = forecast.utility?.loss;
  return (
    `ε ${forecast.plan.epsilon}: ${loss ? `${(100 * loss.expected).toFixed(1)} points expected to be lost, ` : ""}` +
    (fits ? "the budget can pay it" : "the budget cannot pay it")
  );
}

function Answer({ answer, query }: { answer: PlanAnswer; query: Query }) {
  const curve = curveOf(answer);
  return (
    <>
      <Verdict answer={answer} query={query} />
      <PlanStrip answer={answer} />
      {curve.length > 0 && (
        <ChartFrame
          title="Expected loss against ε"
          note="Points of accuracy below that without privacy: the mean over runs, and the interval it lies in."
          source={`fedpriv, plan for ${answer.contract.dataset}`}
          height={LOSS_CHART_HEIGHT}
          empty={null}
          table={{
            columns: ["ε", "Points lost", "Mean over runs", "One in ten loses more than", "Budget"],
            rows: curve.map((point) => [
              String(point.epsilon),
              point.expected.toFixed(1),
              `${point.low.toFixed(1)} to ${point.high.toFixed(1)}`,
              point.oneInTen.toFixed(1),
              point.fits ? "fits" : "does not fit",
            ]),
          }}
        >
          <LossChart answer={answer} query={query} />
        </ChartFrame>
      )}
      <SiteCosts answer={answer} query={query} />
      <Alternatives answer={answer} query={query} />
      <div className="plan-last">
        <StartCommand answer={answer} />
        <Grounds answer={answer} />
      </div>
    </>
  );
}

/** The API understood, and makes no plan of it. */
function Refused({ error }: { error: ApiError }) {
  const title =
    { 403: "Plans are not for this key", 404: "This is not known here" }[error.status ?? 0] ??
    "No plan can be made of this";
  const faults = Object.entries(error.faults);
  return (
    <div className="card plan-refused" role="alert">
      <h2>{title}</h2>
      {faults.length === 0 ? (
        <p>{error.message}</p>
      ) : (
        <ul>
          {faults.map(([name, why]) => (
            <li key={name}>
              <b>{name}</b>: {why}
            </li>
          ))}
        </ul>
      )}
      <p className="particulars">
        <code>
          HTTP {error.status}
          {error.traceId && `, trace ${error.traceId}`}
        </code>
      </p>
      <ViewLink className="button" view={to("plan")}>
        Start from the defaults
      </ViewLink>
    </div>
  );
}

/** The first answer in its final geometry. */
function Coming() {
  return (
    <div className="plan-figures" aria-hidden="true">
      <div className="bone block" style={{ blockSize: 44 }} />
      <BoneStrip names={[null, null, null, null]} />
      <div className="bone block" style={{ blockSize: LOSS_CHART_HEIGHT + 76 }} />
      <div className="bone block" style={{ blockSize: 220 }} />
    </div>
  );
}
