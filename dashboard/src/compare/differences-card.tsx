import { LookKey } from "../charts/marks";
import { Card } from "../ui/card";
import type { Compared } from "./charts";
import { differences, type Setting } from "./differences";

/** What the runs were asked to do differently; what is the same in all is folded away. */
export function DifferencesCard({ compared }: { compared: readonly Compared[] }) {
  const { differ, same } = differences(compared.map(({ run }) => run));
  return (
    <Card title="Settings" note="Public constants of the plans. First what differs" className="differences">
      <div className="table-scroll" role="region" aria-label="Settings, table" tabIndex={0}>
        {differ.length > 0 ? (
          <Settings caption="What differs" compared={compared} settings={differ} />
        ) : (
          <p className="nothing">The plans are the same. What differs is chance: noise, and who answered.</p>
        )}
        <details>
          <summary>Same in all: {same.length} settings</summary>
          <Settings caption="Same in all" compared={compared.slice(0, 1)} settings={same} />
        </details>
      </div>
    </Card>
  );
}

interface SettingsProps {
  caption: string;
  compared: readonly Compared[];
  settings: readonly Setting[];
}

function Settings({ caption, compared, settings }: SettingsProps) {
  const one = compared.length === 1;
  return (
    <table className="settings">
      <caption className="sr-only">{caption}</caption>
      <thead>
        <tr>
          <th scope="col">Setting</th>
          {compared.map(({ run, look, letter }) => (
            <th key={run.run_id} scope="col" className="number">
              {one ? (
                "All runs"
              ) : (
                <span className="setting-run">
                  <LookKey look={look} />
                  {letter}
                </span>
              )}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {settings.map(({ name, values }) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            {compared.map(({ run }, index) => (
              <td key={run.run_id} className="number">
                {values[index]}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
