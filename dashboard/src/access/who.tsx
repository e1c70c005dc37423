import { useQuery, useQueryClient } from "@tanstack/react-query";

import { signOut } from "../api/key";
import { meQuery } from "../api/queries";
import type { Me } from "../api/types";

const THIS_MACHINE = new Set(["localhost", "127.0.0.1", "[::1]"]);

/** Who reads, and how to stop; where nobody is asked, that everybody may. */
export function Who() {
  const me = useQuery(meQuery()).data;
  const queries = useQueryClient();
  if (!me) return null;
  if (me.auth === "none") {
    if (THIS_MACHINE.has(location.hostname)) return null;
    return <p className="who">No key is asked for: everybody who reaches this address reads this page.</p>;
  }
  return (
    <div className="who">
      <p>
        Signed in as <strong>{me.name}</strong>, {whose(me)}
      </p>
      <button
        type="button"
        className="button small"
        onClick={() => {
          signOut();
          queries.clear();
        }}
      >
        Sign out
      </button>
    </div>
  );
}

function whose(me: Me): string {
  return me.site === null ? me.role : `for site ${me.site}: other sites are not shown`;
}
