package local
import ("testing";"context";"github.com/calybris/bursar/coordinator/budget")
var sink uint64
func BenchmarkParts(b *testing.B){
 e,_:=New(); ctx:=context.Background(); e.EnsureTenant(ctx,"tenant-0",1e15)
 t:=budget.TenantID("tenant-0"); a:=e.accounts.find(t)
 b.Run("find",func(b *testing.B){ for i:=0;i<b.N;i++{ if e.accounts.find(t)!=nil{sink++}}})
 b.Run("numbered",func(b *testing.B){ for i:=0;i<b.N;i++{ if e.accounts.numbered(0,t)!=nil{sink++}}})
 b.Run("clock",func(b *testing.B){ for i:=0;i<b.N;i++{ a.advance(e.clock.now())}})
 b.Run("openclose",func(b *testing.B){ for i:=0;i<b.N;i++{ a.close(a.open())}})
 b.Run("debitclose",func(b *testing.B){ for i:=0;i<b.N;i++{ r,_:=a.debitIfAvailable(1); a.close(r+1)}})
 b.Run("bare",func(b *testing.B){ for i:=0;i<b.N;i++{ r,_:=a.debitIfAvailable(100); n,g:=a.hold(100,900000); a.close(r); a.settle(n,g,budget.Committed,90)}})
 b.Run("reserveonly",func(b *testing.B){ for i:=0;i<b.N;i++{ r,err:=e.TryReserve(ctx,t,1e18); if r.Outcome!=budget.Insufficient||err!=nil{b.Fatal()}}})
 b.Run("reserve_settle",func(b *testing.B){ for i:=0;i<b.N;i++{ r,err:=e.TryReserve(ctx,t,100); if r.Outcome!=budget.Reserved||err!=nil{b.Fatal()}; e.settle(r.ID,budget.Committed,90,nil)}})
 b.Run("cycle",func(b *testing.B){ for i:=0;i<b.N;i++{ r,err:=e.TryReserve(ctx,t,100); if r.Outcome!=budget.Reserved||err!=nil{b.Fatal()}; s,err:=e.Commit(ctx,r.ID,90);if s.Outcome!=budget.Committed||err!=nil{b.Fatal()}; }})
}
