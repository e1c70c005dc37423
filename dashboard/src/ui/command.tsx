import { CopyButton } from "./copy-button";

/** A command to type, and where: a row of a list of commands. */
export function Command({ where, command }: { where: string; command: string }) {
  return (
    <>
      <dt>{where}</dt>
      <dd className="command">
        <code>{command}</code>
        <CopyButton what={`the command ${command}`} text={command} />
      </dd>
    </>
  );
}
