import { BoneHeader } from "../ui/bones";

/** The list of sites before it is there. */
export function SitesSkeleton() {
  return (
    <div className="run" aria-busy="true">
      <p className="sr-only" role="status">
        Loading the sites
      </p>
      <div className="card" aria-hidden="true">
        <BoneHeader name="Sites" />
        <div className="bone-rows">
          {[1, 2, 3].map((row) => (
            <span key={row} className="bone block" />
          ))}
        </div>
      </div>
    </div>
  );
}
